// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// The rules of a config file: one argument a line, spliced in where the option that names the file stands.
///
/// White space around a line does not count; empty lines and lines that start with `#` are skipped; there are no quotes and
/// no escapes, so a blank within the line belongs to the argument.
enum ConfigFile {
    /// The longest line, in bytes without its end.
    static let lineBytesMax = 1022
    /// How many files one command line may read in all; more is a file that includes itself.
    static let substitutionsMax = 100

    /// One argument, and where it stands.
    struct Line: Equatable {
        let number: Int
        let argument: String
    }

    /// Splits the text of a file into its arguments.
    ///
    /// - Parameter path: As the user wrote it; for messages.
    /// - Throws: A line longer than ``lineBytesMax``.
    static func arguments(in text: [UInt8], path: String) throws(UserError) -> [Line] {
        var lines: [Line] = []
        for (index, line) in text.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            guard line.count <= lineBytesMax else {
                throw UserError("cannot read config file: \(path):\(index + 1): line too long; at most \(lineBytesMax) bytes")
            }
            let trimmed = trim(line)
            guard let first = trimmed.first, first != UInt8(ascii: "#") else { continue }
            lines.append(Line(number: index + 1, argument: String(decoding: trimmed, as: UTF8.self)))
        }
        return lines
    }

    /// Reads and splits the file at `path`.
    ///
    /// - Throws: Also when the file cannot be read.
    static func read(path: String) throws(UserError) -> [Line] {
        switch readWholeFile(path: path, bytesMax: 1 << 20) {
        case .success(let bytes): return try arguments(in: bytes, path: path)
        case .failure(let failure): throw UserError("cannot read config file \"\(path)\": \(failure.description); check the path")
        }
    }

    private static func trim(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isBlank = { (byte: UInt8) in byte == 32 || (9...13).contains(byte) }
        guard let first = line.firstIndex(where: { !isBlank($0) }), let last = line.lastIndex(where: { !isBlank($0) }) else {
            return []
        }
        return line[first...last]
    }
}

/// A system call that failed.
struct SystemFailure: Error, Equatable, CustomStringConvertible {
    /// The value of errno.
    let code: Int32
    /// The system's text for it.
    var description: String { String(cString: strerror(code)) }
}

/// Reads a small file, whole; a file larger than `bytesMax` fails with EFBIG.
func readWholeFile(path: String, bytesMax: Int) -> Result<[UInt8], SystemFailure> {
    // See: 'man 2 open', 'man 2 read'.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return .failure(SystemFailure(code: errno)) }
    defer { close(descriptor) }
    var content: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 14)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return .failure(SystemFailure(code: errno)) }
        guard count > 0 else { return .success(content) }
        content.append(contentsOf: chunk[..<count])
        guard content.count <= bytesMax else { return .failure(SystemFailure(code: EFBIG)) }
    }
}
