// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc
internal import Logging
internal import Synchronization

/// Where log lines go: standard error while starting and in the foreground, syslog(3) once in the background.
///
/// - Concurrency: safe from anywhere; a line is written with one call, so lines do not mix.
final class LogOutput: Sendable {
    private enum Place { case standardError, syslog }
    private let place = Mutex(Place.standardError)
    private let level: Logger.Level

    /// - Parameter isDebug: Whether lines of the level debug are written.
    init(isDebug: Bool) { level = isDebug ? .debug : .info }

    /// A logger that writes here.
    func logger(label: String) -> Logger {
        Logger(label: label) { _ in LineLogHandler(output: self, logLevel: self.level) }
    }

    /// Sends everything from now on to syslog(3), under the name `s3backer`.
    func switchToSyslog() {
        place.withLock { place in
            guard place == .standardError else { return }
            // openlog(3) keeps the pointer; the name is a constant of the program.
            Self.ident.withUTF8Buffer { name in
                openlog(UnsafeRawPointer(name.baseAddress)?.assumingMemoryBound(to: CChar.self), 0, LOG_USER)
            }
            place = .syslog
        }
    }

    /// Writes one line.
    func write(_ level: Logger.Level, _ text: String) {
        switch place.withLock({ $0 }) {
        case .standardError:
            var now = time(nil)
            var local = tm()
            localtime_r(&now, &local)
            Console.write(LogLine.line(at: local, level, text))
        case .syslog:
            // syslog(3) is variadic, which Swift cannot call. See: 'man 3 vsyslog'.
            text.withCString { text in
                withVaList([text]) { vsyslog(LogLine.priority(of: level), "%s", $0) }
            }
        }
    }

    private static let ident: StaticString = "s3backer"
}

/// The link between swift-log and ``LogOutput``.
struct LineLogHandler: LogHandler {
    let output: LogOutput
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    init(output: LogOutput, logLevel: Logger.Level) {
        self.output = output
        self.logLevel = logLevel
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
        output.write(event.level, LogLine.text(event.message, all))
    }
}

/// Messages to the person at the terminal, on standard error; never in the log.
enum Console {
    /// Writes `s3backer: TEXT`.
    static func say(_ text: String) { write("s3backer: \(text)\n") }

    /// Writes `text` as it is. A standard error that is closed, or full, loses it: there is nobody to tell.
    static func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
