// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// The metadata file beside an object of a ``DirectoryObjectStore``: for each body that the object may have, its metadata.
///
/// It is written, and durable, before the body that it describes takes its place, and it keeps the record of the body that is
/// there until then. Whoever reads a body picks the record with its MD5: so body and metadata change together, although they are
/// two files and power may fail between the two.
///
/// Text, UTF-8, lines end in LF; a value is percent-encoded except for bytes 0x21 ... 0x7e other than `%`:
/// ```
/// s3backer-metadata 1              always the first line; 1 is the version of this format
/// body <32 hex digits>             begins the record of the body with this MD5; 0, 1 or 2 records
/// content-type <value>             at most once in a record
/// content-encoding <value>         at most once in a record
/// user <name> <value>              any number, sorted by name; an empty value is nothing after the blank
/// check <32 hex digits>            always the last line: MD5 of all bytes before this line
/// ```
struct DirectorySidecar: Equatable {
    /// Metadata by the MD5 of the body, in hexadecimal.
    var records: [String: ObjectMetadata] = [:]

    private static let firstLine = "s3backer-metadata 1"

    /// The file's bytes.
    var encoded: [UInt8] {
        var text = Self.firstLine + "\n"
        for (body, metadata) in records.sorted(by: { $0.key < $1.key }) {
            text += "body \(body)\n"
            if let type = metadata.contentType { text += "content-type \(Self.escape(type))\n" }
            if let encoding = metadata.contentEncoding { text += "content-encoding \(Self.escape(encoding))\n" }
            for (name, value) in metadata.user.sorted(by: { $0.key < $1.key }) {
                text += "user \(Self.escape(name)) \(Self.escape(value))\n"
            }
        }
        return Array((text + "check \(hexadecimal(Digest.md5.hash(Array(text.utf8))))\n").utf8)
    }

    /// Makes a file without records.
    init() {}

    /// Reads a file's bytes; nil if they are not what ``encoded`` writes.
    init?(_ bytes: [UInt8]) {
        guard let text = String(validating: bytes, as: UTF8.self), text.hasSuffix("\n") else { return nil }
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String($0) ?? "" }
        // After the last LF stands nothing.
        guard lines.popLast() == "", let check = lines.popLast(), lines.first == Self.firstLine else { return nil }
        let checked = lines.map { $0 + "\n" }.joined()
        guard check == "check \(hexadecimal(Digest.md5.hash(Array(checked.utf8))))" else { return nil }
        var body: String?
        for line in lines.dropFirst() {
            let words = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            if words.count == 2, words[0] == "body" {
                body = words[1]
                records[words[1]] = ObjectMetadata()
            } else {
                guard let body, Self.add(words, to: &records[body, default: ObjectMetadata()]) else { return nil }
            }
        }
    }

    private static func add(_ words: [String], to metadata: inout ObjectMetadata) -> Bool {
        let values = words.dropFirst().compactMap(unescape)
        guard values.count == words.count - 1 else { return false }
        switch (words[0], values.count) {
        case ("content-type", 1): metadata.contentType = values[0]
        case ("content-encoding", 1): metadata.contentEncoding = values[0]
        case ("user", 2): metadata.user[values[0]] = values[1]
        default: return false
        }
        return true
    }

    private static func escape(_ value: String) -> String {
        var text: [UInt8] = []
        for byte in value.utf8 {
            if (0x21...0x7e).contains(byte), byte != UInt8(ascii: "%") {
                text.append(byte)
            } else {
                text += "%\(hexadecimal([byte]))".utf8
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func unescape(_ text: String) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            guard digits.utf8.count == 2, let value = UInt8(digits, radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
