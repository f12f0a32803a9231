// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import ObjectStores
import StoreTesting
@testable import Volumes

/// A way of writing blocks of 512 bytes, small enough to spoil in every bit, for the tests that go through all of them.
struct CodecFixture: Sendable, CustomStringConvertible {
    static let blockSize = 512
    static let pool = BufferPool(retainedBytesMax: 1 << 20)

    let description: String
    let compression: Compression?
    let encryption: (any BlockEncryption)?
    let blockSize: Int
    let codec: CodecStack

    init(
        _ description: String, _ compression: Compression? = nil, _ encryption: (any BlockEncryption)? = nil,
        blockSize: Int = blockSize
    ) {
        self.description = description
        self.compression = compression
        self.encryption = encryption
        self.blockSize = blockSize
        codec = CodecStack(
            compression: compression, encryption: encryption, defaultEncoding: nil, blockSize: blockSize, pool: Self.pool)
    }

    static func compatible(
        _ cipher: BlockCipher, keyCount: Int? = nil, password: String = "hunter2", salt: String = "bkt/vm/"
    ) -> CompatibleEncryption {
        CompatibleEncryption(cipher: cipher, keyCount: keyCount, password: SecretBytes(Array(password.utf8)), salt: salt)
    }

    static func gcm(id: UInt8 = 1, key: UInt8 = 2) -> GCMEncryption {
        GCMEncryption(
            volumeKey: VolumeKey(id: [UInt8](repeating: id, count: 16), key: SecretBytes([UInt8](repeating: key, count: 32))))
    }

    /// Every kind of stored form there is.
    static let all =
        [
            CodecFixture("plain"), CodecFixture("deflate", .deflate(level: -1)), CodecFixture("zstd", .zstd(level: 3)),
        ] + encrypted
    /// Those that are authenticated.
    static let encrypted = [
        CodecFixture("AES-128-CBC", nil, compatible(.aes128CBC)),
        CodecFixture("AES-256-CBC, zstd, long key", .zstd(level: 3), compatible(.aes256CBC, keyCount: 64)),
        CodecFixture("DES-EDE3-CBC", .deflate(level: 0), compatible(.desEDE3CBC)),
        CodecFixture("ARIA-192-CBC", .deflate(level: 9), compatible(.aria192CBC)),
        CodecFixture("AES-256-GCM", nil, gcm()), CodecFixture("AES-256-GCM, zstd", .zstd(level: 3), gcm()),
        CodecFixture("AES-256-GCM, deflate", .deflate(level: -1), gcm()),
    ]

    /// A block that gets smaller, but is not trivial.
    func block(seed: UInt64 = 1) -> [UInt8] {
        var random = SeededGenerator(seed: seed)
        return random.bytes(count: blockSize / 4).flatMap { [$0, $0 & 0x0f, 0, 7] }
    }

    /// The stored form of a block.
    func object(_ bytes: [UInt8], of block: BlockNumber) -> StoredForm {
        let form = codec.encode(slice(bytes), of: block)
        return StoredForm(body: form.body.bytes, contentEncoding: form.contentEncoding, user: form.user)
    }
}

/// What a block's object holds, free to be spoilt.
struct StoredForm: Equatable {
    var body: [UInt8]
    var contentEncoding: String?
    var user: [String: String]

    var metadata: ObjectMetadata {
        ObjectMetadata(contentType: "application/x-s3backer-block", contentEncoding: contentEncoding, user: user)
    }

    func decoded(by codec: CodecStack, as block: BlockNumber) throws(CodecError) -> [UInt8] {
        try codec.decode(slice(body), metadata, of: block).bytes
    }

    /// Why it cannot be decoded; nil when it can.
    func failure(in codec: CodecStack, as block: BlockNumber) -> CodecError? {
        do throws(CodecError) {
            _ = try decoded(by: codec, as: block)
            return nil
        } catch {
            return error
        }
    }
}

/// Bytes as a slice of a buffer of their own.
func slice(_ bytes: [UInt8]) -> BufferSlice { BufferSlice(Buffer(copying: bytes)) }
