// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc
import Logging
import StoreTesting
import Synchronization
import Testing

@testable import Daemon

@Suite("The copy of the statistics file")
final class StatisticsMirrorTests: Sendable {
    private let directory: String
    private let resets = Mutex(0)
    private var path: String { directory + "/stats" }

    init() throws {
        // In memory, where there is such a place: nothing here has to last.
        var template = Array("\(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp")/s3backer-mirror.XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit {
        for name in ["stats", "stats.new"] { unlink(directory + "/" + name) }
        rmdir(directory)
    }

    private func mirror(at path: String? = nil) -> StatisticsMirror {
        StatisticsMirror(
            at: path ?? self.path, text: { [self] in "resets \(count)\n" }, reset: { [self] in resets.withLock { $0 += 1 } })
    }

    private var count: Int { resets.withLock { $0 } }

    private var content: String? {
        guard case .success(let bytes) = readWholeFile(path: path, bytesMax: 1 << 10) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("it replaces what was there, whole, and leaves nothing beside it")
    func replaces() throws {
        var mirror = mirror()
        #expect(try !mirror.update())
        #expect(content == "resets 0\n")
        resets.withLock { $0 = 41 }
        #expect(try !mirror.update())
        #expect(content == "resets 41\n")
        #expect(access(path + ".new", F_OK) != 0)
    }

    @Test("removing it sets the counters back, and the next copy makes it anew; one that was never there resets nothing")
    func reset() throws {
        var mirror = mirror()
        _ = try mirror.update()
        #expect(count == 0)
        unlink(path)
        #expect(try mirror.update())
        #expect(count == 1)
        #expect(content == "resets 1\n")
        #expect(try !mirror.update())
        #expect(count == 1)
    }

    @Test("a copy that fails is told once, and ends the copying")
    func failure() async {
        let lines = LogLines()
        let logger = Logger(label: "test") { _ in lines }
        await mirror(at: "/nowhere/stats").run(every: .seconds(1), timeline: ManualTimeline(), logger: logger)
        #expect(
            lines.all == ["error cannot copy the statistics to \"/nowhere/stats\"; no more copies are made until the next mount"])
    }

    @Test("a link that lies in the way is not followed")
    func link() throws {
        try #require(symlink("/dev/null", path + ".new") == 0)
        var mirror = mirror()
        #expect(throws: SystemFailure.self) { try mirror.update() }
    }

    @Test("copies are made until the task is cancelled, one each interval")
    func interval() async {
        let timeline = ManualTimeline()
        let mirror = mirror()
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        await withTaskGroup { group in
            group.addTask { await mirror.run(every: .seconds(1), timeline: timeline, logger: quiet) }
            while timeline.nextDeadline != .seconds(1) { await Task.yield() }
            unlink(path)
            timeline.advance(by: .seconds(1))
            while timeline.nextDeadline != .seconds(2) { await Task.yield() }
            #expect(count == 1 && content != nil)
            group.cancelAll()
        }
    }
}

/// Collects log lines: level and message.
private final class LogLines: LogHandler {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .debug }
        set {}
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
    func log(event: LogEvent) { lines.withLock { $0.append("\(event.level) \(event.message)") } }
}
