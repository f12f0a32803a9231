// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import Glibc
internal import Logging
internal import Synchronization

/// Where the lines go that libfuse would print to stderr.
///
/// libfuse has one log function per process, without user data, so there is one such place: the only global state of this
/// library. With several sessions in one process the last one to mount gets the lines.
enum FUSELog {
    private struct Destination: Sendable {
        var logger: Logger?
        /// The lines of a mount that is being tried; they become part of its error.
        var kept: [String]?
    }
    private static let destination = Mutex(Destination())

    /// Sends all further lines to `logger`.
    static func direct(to logger: Logger) {
        destination.withLock { $0.logger = logger }
        fuse_set_log_func { level, format, arguments in
            guard let format, let arguments else { return }
            FUSELog.log(level, format, arguments)
        }
    }

    /// Calls `body` and returns, beside its result, the complaints that libfuse had meanwhile, instead of logging them.
    static func keepingComplaints<Result>(_ body: () -> Result) -> (Result, [String]) {
        destination.withLock { $0.kept = [] }
        let result = body()
        let kept = destination.withLock { destination in
            defer { destination.kept = nil }
            return destination.kept ?? []
        }
        return (result, kept)
    }

    private static func log(_ level: fuse_log_level, _ format: UnsafePointer<CChar>, _ arguments: CVaListPointer) {
        let line = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer in
            let length = vsnprintf(buffer.baseAddress, buffer.count, format, arguments)
            guard length >= 0 else { return "" }
            let bytes = buffer.prefix(min(Int(length), buffer.count - 1)).map { UInt8(bitPattern: $0) }
            return String(decoding: bytes, as: UTF8.self)
        }
        let text = trimmed(line)
        guard !text.isEmpty else { return }
        let isComplaint = level.rawValue <= FUSE_LOG_WARNING.rawValue
        let logger: Logger? = destination.withLock { destination in
            guard isComplaint, destination.kept != nil else { return destination.logger }
            destination.kept?.append(text)
            return nil
        }
        logger?.log(level: loggerLevel(level), "libfuse says", metadata: ["text": "\(text)"])
    }

    private static func trimmed(_ line: String) -> String {
        var text = Substring(line)
        while text.last?.isWhitespace == true { text.removeLast() }
        if text.hasPrefix("fuse: ") { text.removeFirst("fuse: ".count) }
        return String(text)
    }

    private static func loggerLevel(_ level: fuse_log_level) -> Logger.Level {
        switch level {
        case FUSE_LOG_EMERG, FUSE_LOG_ALERT, FUSE_LOG_CRIT, FUSE_LOG_ERR: .error
        case FUSE_LOG_WARNING: .warning
        case FUSE_LOG_NOTICE: .notice
        case FUSE_LOG_INFO: .info
        default: .debug
        }
    }
}
