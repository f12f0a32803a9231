// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc
internal import Logging

/// The form of a log line: `YYYY-MM-DD hh:mm:ss LEVEL: TEXT name=value`, in local time.
enum LogLine {
    /// The word for a level: one of DEBUG, INFO, NOTICE, WARNING, ERROR.
    static func word(for level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "DEBUG"
        case .info: "INFO"
        case .notice: "NOTICE"
        case .warning: "WARNING"
        case .error, .critical: "ERROR"
        }
    }

    /// The priority of a level for syslog(3).
    static func priority(of level: Logger.Level) -> Int32 {
        switch level {
        case .trace, .debug: LOG_DEBUG
        case .info: LOG_INFO
        case .notice: LOG_NOTICE
        case .warning: LOG_WARNING
        case .error, .critical: LOG_ERR
        }
    }

    /// The message and its metadata, sorted by name, on one line.
    static func text(_ message: Logger.Message, _ metadata: Logger.Metadata) -> String {
        var text = message.description
        for (name, value) in metadata.sorted(by: { $0.key < $1.key }) { text += " \(name)=\(value)" }
        // One entry is one line, whatever a server put into its answer.
        return String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? " " : $0 }))
    }

    /// The whole line for standard error, with its end.
    static func line(at time: tm, _ level: Logger.Level, _ text: String) -> String {
        let date = [padded(time.tm_year + 1900, 4), padded(time.tm_mon + 1, 2), padded(time.tm_mday, 2)].joined(separator: "-")
        let clock = [time.tm_hour, time.tm_min, time.tm_sec].map { padded($0, 2) }.joined(separator: ":")
        return "\(date) \(clock) \(word(for: level)): \(text)\n"
    }

    private static func padded(_ number: Int32, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
