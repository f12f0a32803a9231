// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Glibc

/// The terminal of whoever started the process, as far as a password is asked for there.
///
/// - Source: 'man 3 termios', 'man 4 tty', 'man 3 getpass'.
struct Terminal {
    /// The longest line that a terminal delivers, with its end. See: 'man 3 termios', "Canonical and noncanonical mode".
    private static let lineBytesMax = 4096
    /// How long a signal may have to wait until it is seen.
    private static let pollMilliseconds: Int32 = 100

    /// The device.
    private let path: String

    /// - Parameter path: The terminal; the standard one is that of the process, whatever its standard streams are.
    init(path: String = "/dev/tty") { self.path = path }

    /// Asks for a password, and shows nothing of what is typed.
    ///
    /// A signal that ends or stops the process does so as ever, but not before the terminal shows again what is typed; if the
    /// process goes on after it, the question is asked again.
    ///
    /// - Returns: The line without its end; never empty.
    /// - Throws: When there is no terminal, when it fails, and when nothing was typed.
    /// - Concurrency: to be called before there are other threads, which could take the signals.
    func askPassword(_ prompt: String) throws(UserError) -> SecretBytes {
        let descriptor = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw UserError("cannot ask for the password: there is no terminal; use \"--passwordFile\"")
        }
        defer { close(descriptor) }
        while true {
            if let password = try ask(prompt, descriptor) {
                guard password.count > 0 else {
                    throw UserError("cannot go on without a password: nothing was typed; try again, or use \"--passwordFile\"")
                }
                return password
            }
        }
    }

    /// Asks once; nil when a signal came first. It takes effect when this returns.
    private func ask(_ prompt: String, _ descriptor: Int32) throws(UserError) -> SecretBytes? {
        var signals = Self.signals
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &signals, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var shown = termios()
        guard tcgetattr(descriptor, &shown) == 0 else { throw Self.failure(errno) }
        var hidden = shown
        hidden.c_lflag &= ~tcflag_t(ECHO | ECHONL)
        hidden.c_lflag |= tcflag_t(ICANON | ISIG)
        // What was typed ahead was shown, and is thrown away.
        guard tcsetattr(descriptor, TCSAFLUSH, &hidden) == 0 else { throw Self.failure(errno) }
        defer { tcsetattr(descriptor, TCSAFLUSH, &shown) }
        Self.write(prompt, descriptor)
        defer { Self.write("\n", descriptor) }
        return try readLine(descriptor)
    }

    /// Reads the line that was typed; nil when a signal came first.
    private func readLine(_ descriptor: Int32) throws(UserError) -> SecretBytes? {
        while !Self.hasPendingSignal {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, Self.pollMilliseconds)
            guard ready >= 0 || errno == EINTR else { throw Self.failure(errno) }
            guard ready > 0 else { continue }
            var count = 0
            var code: Int32 = 0
            // A terminal delivers a line at a time.
            let line = SecretBytes(count: Self.lineBytesMax) { memory in
                count = read(descriptor, memory.baseAddress, memory.count)
                code = errno
            }
            if count < 0, code == EINTR || code == EAGAIN { continue }
            guard count >= 0 else { throw Self.failure(code) }
            return line.withBytes { bytes in
                let end = bytes[..<count].firstIndex(of: UInt8(ascii: "\n")) ?? count
                return SecretBytes(copying: UnsafeRawBufferPointer(rebasing: bytes[..<end]))
            }
        }
        return nil
    }

    /// The signals that somebody at the terminal, or a system that shuts down, sends; without those that are ignored, which
    /// would be waited for in vain.
    private static var signals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP] where !StopSignals.isIgnored(number) { sigaddset(&set, number) }
        return set
    }

    private static var hasPendingSignal: Bool {
        var pending = sigset_t()
        sigpending(&pending)
        return [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP].contains { sigismember(&pending, $0) == 1 }
    }

    /// Writes a few bytes; a terminal that takes them not will fail at the read.
    private static func write(_ text: String, _ descriptor: Int32) {
        _ = Array(text.utf8).withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }

    private static func failure(_ code: Int32) -> UserError {
        UserError("cannot ask for the password: \(SystemFailure(code: code)); use \"--passwordFile\"")
    }
}
