// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Glibc

/// The rules of a password file: the password is the first line, byte for byte, without the line feed that ends it.
///
/// A carriage return before the line feed belongs to the password, and so do blanks at both ends.
///
/// - Source: s3backer(1), "--passwordFile".
struct PasswordFile {
    /// The most that is taken of a line, in bytes, as in the C program.
    static let lineBytesMax = 1022

    /// The password.
    let password: SecretBytes
    /// Lines for the user about what was taken, but perhaps not meant.
    let warnings: [String]

    /// Reads the file at `path`: no more of it than the first line, and only into memory that is wiped.
    ///
    /// - Throws: When it cannot be read, is empty, or its first line is, or holds what the C program could not read.
    static func read(path: String) throws(UserError) -> PasswordFile {
        // See: 'man 2 open'. A pipe is as good as a file: `--passwordFile=<(...)`.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(path, SystemFailure(code: errno)) }
        defer { close(descriptor) }
        var warnings = accessWarnings(path, descriptor)
        var count = 0
        var failure: SystemFailure?
        // One byte more than is taken: it tells whether something is left out.
        let head = SecretBytes(count: lineBytesMax + 1) { memory in
            do throws(SystemFailure) {
                count = try fill(memory, from: descriptor)
            } catch {
                failure = error
            }
        }
        if let failure { throw unreadable(path, failure) }
        let password = try head.withBytes { bytes throws(UserError) in
            let read = bytes[..<count]
            let end = read.firstIndex(of: UInt8(ascii: "\n")) ?? count
            guard count > 0 else { throw empty(path, "it") }
            guard end > 0 else { throw empty(path, "its first line") }
            guard !read[..<end].contains(0) else {
                throw UserError(
                    "cannot use password file \"\(path)\": its first line holds a zero byte; write the password as text")
            }
            if end > lineBytesMax {
                warnings.append("warning: of the first line of password file \"\(path)\" only \(lineBytesMax) bytes are used")
            }
            return SecretBytes(copying: UnsafeRawBufferPointer(rebasing: bytes[..<min(end, lineBytesMax)]))
        }
        return PasswordFile(password: password, warnings: warnings)
    }

    /// Reads until a line has ended, `memory` is full, or nothing is left.
    private static func fill(_ memory: UnsafeMutableRawBufferPointer, from descriptor: Int32) throws(SystemFailure) -> Int {
        var filled = 0
        while filled < memory.count {
            let count = Glibc.read(descriptor, memory.baseAddress?.advanced(by: filled), memory.count - filled)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemFailure(code: errno) }
            guard count > 0 else { break }
            let isEnded = memory[filled..<filled + count].contains(UInt8(ascii: "\n"))
            filled += count
            if isEnded { break }
        }
        return filled
    }

    /// A warning when others can read the file; a pipe belongs to nobody else.
    private static func accessWarnings(_ path: String, _ descriptor: Int32) -> [String] {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o044 != 0 else { return [] }
        return ["warning: password file \"\(path)\" can be read by others; protect it with \"chmod 600 \(path)\""]
    }

    private static func unreadable(_ path: String, _ failure: SystemFailure) -> UserError {
        UserError("cannot read password file \"\(path)\": \(failure); check the path")
    }

    private static func empty(_ path: String, _ what: String) -> UserError {
        UserError("cannot use password file \"\(path)\": \(what) is empty; write the password into its first line")
    }
}
