// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension HTTPField {
    /// Reads a line of an answer's head or trailer: byte by byte, since every answer has some ten of them.
    ///
    /// - Parameter line: `Name: value`, with or without the end of the line. What is no UTF-8 becomes U+FFFD.
    /// - Returns: The name in lower case, and the value without blanks at its ends; nil for a line without a colon.
    /// - Source: RFC 9112 section 5.
    init?(line: UnsafeRawBufferPointer) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        var start = colon + 1
        var end = line.count
        while start < end, Self.isBlank(line[start]) { start += 1 }
        while start < end, Self.isBlank(line[end - 1]) { end -= 1 }
        // Proof for the slices: `colon` and `end` are at most the line's count; both are copied before this returns.
        let value = String(decoding: UnsafeRawBufferPointer(rebasing: line[start..<end]), as: UTF8.self)
        let name = String(decoding: UnsafeRawBufferPointer(rebasing: line[..<colon]), as: UTF8.self)
        self.init(name.lowercased(), value)
    }

    /// Whether the byte is a blank, or one of an end of line.
    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n")
    }
}
