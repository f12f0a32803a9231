// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import DataPath
import Glibc
import Synchronization
import Testing

@testable import Daemon

extension SecretBytes {
    /// The bytes, for comparison with what a test wrote.
    var revealed: [UInt8] { withBytes { Array($0) } }
}

/// The line that the user gets for a password that cannot be had.
private func message(_ read: () throws(UserError) -> some Any) -> String? {
    do {
        _ = try read()
        return nil
    } catch { return error.message }
}

@Suite("Password files")
struct PasswordFileTests {
    /// Calls `body` with the path of a file that holds `bytes`.
    private func withFile(_ bytes: [UInt8], mode: mode_t = 0o600, _ body: (String) throws -> Void) throws {
        var template = Array("/tmp/s3backer-password-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { unlink(path) }
        try #require(fchmod(descriptor, mode) == 0 && write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        try body(path)
    }

    @Test(
        "the password is the first line, byte for byte, without the line feed",
        arguments: [
            ("secret\n", "secret"), ("secret", "secret"), ("secret\r\n", "secret\r"), ("first\nsecond\n", "first"),
            (" blank \n", " blank "), ("p\u{e9}\n", "p\u{e9}"),
        ])
    func firstLine(content: String, expected: String) throws {
        try withFile(Array(content.utf8)) { path in
            let file = try PasswordFile.read(path: path)
            #expect(file.password.revealed == Array(expected.utf8))
            #expect(file.warnings.isEmpty)
        }
    }

    @Test("bytes that are no text of UTF-8 are kept as they are")
    func anyBytes() throws {
        try withFile([0xff, 0x80, 0x0a]) { path in
            let file = try PasswordFile.read(path: path)
            #expect(file.password.revealed == [0xff, 0x80])
        }
    }

    @Test("a line of 1022 bytes is taken whole, of a longer one the beginning, with a warning", arguments: [true, false])
    func longLines(isEnded: Bool) throws {
        let longest = [UInt8](repeating: 120, count: 1022)
        let end: [UInt8] = isEnded ? [10] : []
        try withFile(longest + end) { path in
            let file = try PasswordFile.read(path: path)
            #expect(file.password.revealed == longest && file.warnings.isEmpty)
        }
        try withFile(longest + [121] + end) { path in
            let file = try PasswordFile.read(path: path)
            #expect(file.password.revealed == longest)
            #expect(file.warnings == ["warning: of the first line of password file \"\(path)\" only 1022 bytes are used"])
        }
    }

    @Test("an empty file, an empty line, a zero byte and a file that is not there are refused")
    func refusals() throws {
        try withFile([]) { path in
            #expect(
                message { () throws(UserError) in try PasswordFile.read(path: path) }
                    == "cannot use password file \"\(path)\": it is empty; write the password into its first line")
        }
        try withFile([10, 65]) { path in
            #expect(
                message { () throws(UserError) in try PasswordFile.read(path: path) }
                    == "cannot use password file \"\(path)\": its first line is empty; write the password into its first line")
        }
        try withFile([65, 0, 66, 10]) { path in
            #expect(
                message { () throws(UserError) in try PasswordFile.read(path: path) }
                    == "cannot use password file \"\(path)\": its first line holds a zero byte; write the password as text")
        }
        #expect(
            message { () throws(UserError) in try PasswordFile.read(path: "/nowhere/p") }
                == "cannot read password file \"/nowhere/p\": No such file or directory; check the path")
        #expect(message { () throws(UserError) in try PasswordFile.read(path: "/") }?.contains("Is a directory") == true)
    }

    @Test(
        "a file that others can read is used, with a warning that names the cure", arguments: [0o644, 0o640, 0o604] as [mode_t])
    func readableByOthers(mode: mode_t) throws {
        try withFile(Array("secret".utf8), mode: mode) { path in
            let file = try PasswordFile.read(path: path)
            #expect(file.password.revealed == Array("secret".utf8))
            #expect(
                file.warnings == [
                    "warning: password file \"\(path)\" can be read by others; protect it with \"chmod 600 \(path)\""
                ])
        }
    }

    @Test("a pipe is as good as a file, and is read only to the end of its first line")
    func pipes() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        // The other end stays open: to read on would hang.
        try #require(write(ends[1], "secret\n", 7) == 7)
        let file = try PasswordFile.read(path: "/proc/self/fd/\(ends[0])")
        #expect(file.password.revealed == Array("secret".utf8) && file.warnings.isEmpty)
    }
}

@Suite("Where passwords come from")
struct PasswordSourceTests {
    /// Surroundings in which `answers` are typed, one after the other.
    private func typing(_ answers: String...) -> Surroundings {
        var rest = answers[...]
        return surroundings(askPassword: { _ throws(UserError) in
            return SecretBytes(Array((rest.popFirst() ?? "").utf8))
        })
    }

    @Test("a password on the command line is taken as it is; an empty one is refused")
    func given() throws {
        let source = PasswordSource.given(SecretBytes(Array("secret".utf8)))
        #expect(try source.read(in: surroundings()).revealed == Array("secret".utf8))
        #expect(
            message { () throws(UserError) in try PasswordSource.given(SecretBytes([])).read(in: surroundings()) }
                == "cannot use \"--password=\": the password is empty; give one")
    }

    @Test("without any it is asked for; a new one is asked for twice and must be typed alike")
    func asked() throws {
        #expect(try PasswordSource.terminal.read(in: typing("secret")).revealed == Array("secret".utf8))
        #expect(try PasswordSource.terminal.readNew(in: typing("new", "new")).revealed == Array("new".utf8))
        let line = message { () throws(UserError) in try PasswordSource.terminal.readNew(in: typing("hunter2", "hunter3")) }
        #expect(line == "cannot change the password: the two new ones differ; try again")
    }

    @Test(
        "the password of a volume that may be new is asked for twice, so that a slip of the finger does not lock its owner out",
        arguments: [
            (["--encrypt=AES-256-GCM", "--size=1g"], 2), (["--encrypt=AES-256-GCM"], 1),
            (["--encrypt=AES-256-GCM", "--size=1g", "--readOnly"], 1), (["--encrypt", "--size=1g"], 1),
        ])
    func maybeNew(options: [String], timesAsked: Int) throws {
        let asked = Mutex<[String]>([])
        let around = surroundings(askPassword: { question throws(UserError) in
            let count = asked.withLock { list in
                list.append(question)
                return list.count
            }
            return SecretBytes(Array("typed \(count)".utf8))
        })
        let settings = try Settings(try CommandLineReader.read(options + ["bucket", "/mnt"]), in: around)
        let encryption = try #require(settings.codec.encryption)
        let line = message { () throws(UserError) in try encryption.password(in: around, settings) }
        #expect(asked.withLock { $0.count } == timesAsked)
        #expect(line == (timesAsked == 2 ? "cannot mount: the two passwords differ; try again" : nil))
        let alike = try PasswordSource.terminal.readForNewVolume(in: typing("secret", "secret"))
        #expect(alike.revealed == Array("secret".utf8))
    }
}

@Suite("Asking at a terminal")
struct TerminalTests {
    /// A terminal without a screen: the side of the user, and the path of the other one.
    private func withTerminal(_ body: (_ user: Int32, _ path: String) throws -> Void) throws {
        let user = open("/dev/ptmx", O_RDWR | O_NOCTTY)
        try #require(user >= 0)
        defer { close(user) }
        // See: 'man 2 ioctl_tty', TIOCSPTLCK and TIOCGPTN; the functions around them need _GNU_SOURCE.
        var isLocked: Int32 = 0
        var number: UInt32 = 0
        let isUnlocked = ioctl(user, 0x4004_5431, &isLocked) == 0 && ioctl(user, 0x8004_5430, &number) == 0
        try #require(isUnlocked)
        let path = "/dev/pts/\(number)"
        // Held open, so that the settings outlive the question.
        let other = open(path, O_RDWR | O_NOCTTY)
        try #require(other >= 0)
        defer { close(other) }
        try body(user, path)
    }

    private func echoes(_ terminal: Int32) -> Bool {
        var settings = termios()
        return tcgetattr(terminal, &settings) == 0 && settings.c_lflag & tcflag_t(ECHO) != 0
    }

    /// Reads what the terminal shows, up to and with `end`.
    private func shown(_ user: Int32, until end: String) -> String {
        var text: [UInt8] = []
        var byte: UInt8 = 0
        while !text.reversed().starts(with: end.utf8.reversed()), read(user, &byte, 1) == 1 { text.append(byte) }
        return String(decoding: text, as: UTF8.self)
    }

    @Test("what is typed is the password and is not shown; afterwards typing is shown again")
    func exchange() throws {
        try withTerminal { user, path in
            let answer = Mutex<[UInt8]>([])
            let thread = JoinableThread.required(name: "asking") {
                let password = try? Terminal(path: path).askPassword("Password: ")
                answer.withLock { $0 = password?.revealed ?? [] }
            }
            #expect(shown(user, until: "Password: ") == "Password: ")
            #expect(!echoes(user))
            _ = write(user, "se cret\n", 8)
            thread.join()
            #expect(answer.withLock { $0 } == Array("se cret".utf8))
            #expect(shown(user, until: "\r\n") == "\r\n")
            #expect(echoes(user))
        }
    }

    @Test("an end of input and an empty line are no password", arguments: ["\u{4}", "\n"])
    func nothing(typed: String) throws {
        try withTerminal { user, path in
            let line = Mutex<String?>(nil)
            let thread = JoinableThread.required(name: "asking") {
                let text = message { () throws(UserError) in try Terminal(path: path).askPassword("Password: ") }
                line.withLock { $0 = text }
            }
            #expect(shown(user, until: "Password: ") == "Password: ")
            _ = write(user, typed, typed.utf8.count)
            thread.join()
            #expect(
                line.withLock { $0 }
                    == "cannot go on without a password: nothing was typed; try again, or use \"--passwordFile\"")
            #expect(echoes(user))
        }
    }

    @Test("without a terminal the message says what to use instead")
    func noTerminal() {
        #expect(
            message { () throws(UserError) in try Terminal(path: "/nowhere/tty").askPassword("Password: ") }
                == "cannot ask for the password: there is no terminal; use \"--passwordFile\"")
        #expect(message { () throws(UserError) in try Terminal(path: "/dev/null").askPassword("Password: ") } != nil)
    }
}
