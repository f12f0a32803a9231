// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Glibc
import ObjectStores
@testable import Volumes

/// A volume that s3backer 2.1.6 wrote through a recording proxy, from a file under `Golden`: a head, then each object with its
/// headers and, indented, its bytes in base64.
///
/// All sets hold the same blocks: 0 and 511 the bytes 00 ... ff repeated, 1 the noise of SHA-256 over "s3b-vector-0", "s3b-vector-1"
/// and so on, 2 a one and zeros. They have 512 blocks of 4096 bytes.
struct GoldenSet: Sendable {
    struct Entry: Sendable {
        let key: ObjectKey
        let block: BlockNumber
        /// The fields by their names in lower case.
        let fields: [String: String]
        let body: BufferSlice

        var metadata: ObjectMetadata {
            let prefix = "x-amz-meta-"
            let user = fields.filter { $0.key.hasPrefix(prefix) }.map { ($0.key.dropFirst(prefix.count), $0.value) }
            return ObjectMetadata(
                contentType: fields["content-type"], contentEncoding: fields["content-encoding"],
                user: Dictionary(uniqueKeysWithValues: user.map { (String($0.0), $0.1) }))
        }

        /// The bytes of the block.
        var plain: [UInt8] {
            switch block.rawValue {
            case 1: (0..<128).flatMap { Digest.sha256.hash("s3b-vector-\($0)") }
            case 2: [1] + [UInt8](repeating: 0, count: 4095)
            default: (0..<4096).map { UInt8(truncatingIfNeeded: $0) }
            }
        }
    }

    static let blockSize = 4096
    static let names = [
        "plain", "hash", "deflate", "deflate9", "zstd", "enc128", "enc128lvl0", "enc256", "des3",
    ]

    let name: String
    let head: [String: String]
    let entries: [Entry]

    var isHashed: Bool { option("blockHashPrefix") != nil }
    var prefix: String { head["prefix"] ?? "" }
    var keys: BlockKeyScheme { BlockKeyScheme(prefix: prefix, isHashed: isHashed) }

    init(_ name: String) throws {
        self.name = name
        let text = try Self.text(of: #filePath.replacingSuffix("GoldenSet.swift", with: "Golden/\(name).txt"))
        let lines = text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
        var sections: [[String]] = [[]]
        for line in lines {
            if line.hasPrefix("object: ") { sections.append([]) }
            sections[sections.count - 1].append(line)
        }
        head = Self.fields(sections[0])
        entries = try sections.dropFirst().map { lines in
            let fields = Self.fields(lines.filter { !$0.hasPrefix(" ") })
            let digits = lines.filter { $0.hasPrefix(" ") }.joined()
            let key = try required(fields["object"])
            return Entry(
                key: ObjectKey(key), block: BlockNumber(rawValue: try required(UInt32(key.suffix(8), radix: 16))), fields: fields,
                body: BufferSlice(Buffer(copying: try required(decodeBase64(digits)))))
        }
    }

    /// The value of an option in the command line that made the set; empty for one without a value.
    func option(_ name: String) -> String? {
        for word in head["options", default: ""].split(separator: " ") where word.hasPrefix("--" + name) {
            let rest = word.dropFirst(name.count + 2)
            if rest.isEmpty { return "" }
            if rest.first == "=" { return String(rest.dropFirst()) }
        }
        return nil
    }

    /// The encryption of the command line.
    func encryption() throws -> CompatibleEncryption? {
        guard let name = option("encrypt") else { return nil }
        let cipher = try required(BlockCipher(named: name.isEmpty ? "AES-128-CBC" : name))
        let password = SecretBytes(Array(try required(option("password")).utf8))
        return CompatibleEncryption(
            cipher: cipher, keyCount: nil, password: password, salt: "\(head["bucket", default: ""])/\(prefix)")
    }

    /// The codecs of the command line.
    func codec() throws -> CodecStack {
        var compression: Compression?
        if let value = option("compress") {
            let kind = Compression.kind(of: value) ?? .deflate
            compression = Compression(
                kind, level: option("compress-level").flatMap(Int.init) ?? Int(value) ?? kind.defaultLevel)
        }
        return CodecStack(
            compression: compression, encryption: try encryption(), defaultEncoding: nil, blockSize: Self.blockSize,
            pool: BufferPool(retainedBytesMax: 1 << 20))
    }

    private static func fields(_ lines: [String]) -> [String: String] {
        var fields: [String: String] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            fields[line[..<colon].lowercased()] = String(value)
        }
        return fields
    }

    private static func text(of path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Missing() }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw Missing() }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }
}

struct Missing: Error {}

/// The value, or an error when there is none.
func required<Value>(_ value: Value?) throws -> Value {
    guard let value else { throw Missing() }
    return value
}

/// The bytes that base64 stands for; blanks are left out, and nil means that it is none.
func decodeBase64(_ text: String) -> [UInt8]? {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    let values = Dictionary(uniqueKeysWithValues: digits.enumerated().map { ($1, UInt32($0)) })
    var bytes: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for byte in text.utf8 where byte != UInt8(ascii: " ") && byte != UInt8(ascii: "=") {
        guard let value = values[byte] else { return nil }
        bits = bits << 6 | value
        count += 6
        if count >= 8 {
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
    }
    return bytes
}

extension String {
    fileprivate func replacingSuffix(_ suffix: String, with other: String) -> String { dropLast(suffix.count) + other }
}
