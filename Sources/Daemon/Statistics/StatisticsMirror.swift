// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Glibc
internal import Logging

/// Keeps a copy of the statistics in an ordinary file, for programs that cannot look into the mount (`--statsFileMirror`).
///
/// Each copy is written beside the file, as `PATH.new`, and renamed over it, so a reader never finds half a text. Removing the
/// file sets the counters back to zero, as removing the statistics file does, and the next copy makes it anew. The copy is a
/// convenience: a failure is logged once, ends the copying, and leaves the mount alone.
///
/// - Source: s3backer(1), "--statsFileMirror"; 'man 2 rename'.
struct StatisticsMirror: Sendable {
    private let path: String
    private let text: @Sendable () -> String
    private let reset: @Sendable () -> Void
    /// Whether the file has been there: only then does its absence mean that somebody has removed it.
    private var isWritten = false

    /// - Parameters:
    ///   - path: The file; absolute, since the process leaves its working directory.
    ///   - text: The figures of this moment.
    ///   - reset: Sets the counters back to zero.
    init(at path: String, text: @escaping @Sendable () -> String, reset: @escaping @Sendable () -> Void) {
        self.path = path
        self.text = text
        self.reset = reset
    }

    /// Makes a copy at once and then one each interval, until the task is cancelled or a copy fails.
    ///
    /// - Concurrency: writes files, so it belongs on a thread that may block.
    func run(every interval: Duration, timeline: any Timeline, logger: Logger) async {
        var mirror = self
        while true {
            do {
                if try mirror.update() { logger.info("statistics reset: \"\(path)\" was removed") }
            } catch {
                logger.error(
                    "cannot copy the statistics to \"\(path)\"; no more copies are made until the next mount",
                    metadata: ["cause": "\(error)"])
                return
            }
            do {
                try await timeline.sleep(until: timeline.now + interval)
            } catch {
                return
            }
        }
    }

    /// Makes one copy.
    ///
    /// - Returns: Whether the counters were set back before, because somebody had removed the file.
    /// - Throws: When the file cannot be looked at, written or renamed.
    mutating func update() throws(SystemFailure) -> Bool {
        let isRemoved = isWritten ? try !exists() : false
        if isRemoved { reset() }
        try write(Array(text().utf8), to: path + ".new")
        guard rename(path + ".new", path) == 0 else { throw SystemFailure(code: errno) }
        isWritten = true
        return isRemoved
    }

    private func exists() throws(SystemFailure) -> Bool {
        var status = stat()
        if lstat(path, &status) == 0 { return true }
        guard errno == ENOENT else { throw SystemFailure(code: errno) }
        return false
    }

    private func write(_ bytes: [UInt8], to path: String) throws(SystemFailure) {
        // Others may read it, as they may read the statistics file; a link that somebody put there is not followed.
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw SystemFailure(code: errno) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemFailure(code: errno) }
            rest = rest.dropFirst(count)
        }
    }
}
