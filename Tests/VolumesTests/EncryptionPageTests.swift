// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Foundation
import ObjectStores
import Testing

@testable import Volumes

/// The worked example of Docs/Formats/Encryption.md, made again from the inputs that stand there.
@Suite("The example on the page about AES-256-GCM")
struct EncryptionPageTests {
    private let page: String
    /// The lines of the form "name, two blanks or more, value".
    private let values: [String: String]

    init() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        page = try String(contentsOf: root.appending(path: "Docs/Formats/Encryption.md"), encoding: .utf8)
        let pairs = page.split(separator: "\n").compactMap { line in
            line.wholeMatch(of: #/    (\S+(?: \S+)*)  +(\S.*)/#).map { (String($0.1), String($0.2)) }
        }
        values = Dictionary(pairs) { first, _ in first }
    }

    private func text(_ name: String) throws -> String { try #require(values[name], "\(name)") }

    private func bytes(_ name: String) throws -> [UInt8] {
        let digits = Array(try text(name))
        return try stride(from: 0, to: digits.count, by: 2).map { index in
            try #require(UInt8(String(digits[index..<min(index + 2, digits.count)]), radix: 16), "\(name)")
        }
    }

    private func volumeKey() throws -> VolumeKey {
        VolumeKey(id: try bytes("volume id"), key: SecretBytes(try bytes("volume key")))
    }

    @Test("password and salt give the password key")
    func passwordKey() throws {
        let key = try #require(
            KeyDerivation.scrypt(password: secret(try text("password")), salt: try bytes("salt"), .forVolumes, count: 32))
        #expect(key.withBytes { Array($0) } == (try bytes("password key")))
    }

    @Test("the key object is the text on the page, which unlocks to the volume key")
    func keyObject() throws {
        let record = try #require(
            VolumeKeyRecord(
                wrapping: try volumeKey(), by: secret(try text("password")), .forVolumes, salt: try bytes("salt"),
                nonce: try bytes("nonce of the key")))
        #expect(page.contains("```\n" + String(decoding: record.bytes, as: UTF8.self) + "```\n"))
        guard case .key(let key) = record.unwrap(by: secret(try text("password"))) else { throw FixtureError() }
        #expect(key.id == (try bytes("volume id")))
        #expect(key.key.withBytes { Array($0) } == (try bytes("volume key")))
    }

    @Test("block, number and nonce give the additional data and the body")
    func block() throws {
        let number = try #require(UInt64(try text("block number")))
        let encoding = "encrypt-AES-256-GCM"
        let additional = try bytes("volume id") + withUnsafeBytes(of: number.bigEndian) { Array($0) } + Array(encoding.utf8)
        #expect(additional == (try bytes("additional data")))
        var sealed = Array(try text("block").utf8)
        var tag = [UInt8](repeating: 0, count: 16)
        let (nonce, cipher) = (try bytes("nonce of the block"), XAES256GCM(key: try volumeKey().key))
        sealed.withUnsafeMutableBytes { sealed in
            tag.withUnsafeMutableBytes { tag in
                nonce.withUnsafeBytes { nonce in
                    additional.withUnsafeBytes {
                        cipher.seal(
                            UnsafeRawBufferPointer(sealed), nonce: nonce, additionalData: $0, into: sealed, tag: tag)
                    }
                }
            }
        }
        #expect(nonce + sealed + tag == (try bytes("body")))
    }

    @Test("the codecs read the body as the block of that number, and as no other")
    func decoded() throws {
        let stack = CodecStack(
            compression: nil, encryption: GCMEncryption(volumeKey: try volumeKey()), defaultEncoding: nil, blockSize: 16,
            pool: BufferPool(retainedBytesMax: 0))
        let body = BufferSlice(Buffer(copying: try bytes("body")))
        let metadata = ObjectMetadata(contentEncoding: "encrypt-AES-256-GCM")
        #expect(try stack.decode(body, metadata, of: 5).bytes == Array(try text("block").utf8))
        #expect(throws: CodecError.self) { try stack.decode(body, metadata, of: 6) }
    }
}
