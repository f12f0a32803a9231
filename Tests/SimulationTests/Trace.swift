// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import Synchronization

/// What the layers said during a run; the last lines are enough to see what went wrong.
final class Trace: Sendable {
    private let lines = Mutex<[String]>([])

    func append(_ line: String) { lines.withLock { $0.append(line) } }

    /// Every line.
    var all: [String] { lines.withLock { $0 } }

    /// The last lines, one below the other.
    func tail(_ count: Int) -> String { all.suffix(count).joined(separator: "\n") }
}

/// Puts the debug log of the layers into a trace, with the time of the simulated clock.
struct TraceLog: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.debug
    private let trace: Trace
    private let timeline: any Timeline

    init(_ trace: Trace, _ timeline: any Timeline) {
        self.trace = trace
        self.timeline = timeline
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        // The one thing that is random: the id of a volume that is encrypted with AES-256-GCM.
        let metadata = (event.metadata ?? [:]).filter { $0.key != "volume" || !event.message.description.contains("key object") }
        let details = metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        trace.append("\(timeline.now) \(event.message) \(details.joined(separator: " "))")
    }
}
