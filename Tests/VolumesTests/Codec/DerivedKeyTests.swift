// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing

@testable import Volumes

@Suite("The key of the cache file")
struct DerivedKeyTests {
    private func hex(_ key: SecretBytes?) throws -> String {
        hexadecimal(try required(key).withBytes { Array($0) })
    }

    @Test("it is the one of Docs/Formats/Encryption.md, and needs nothing but the key of the volume")
    func example() throws {
        let key = VolumeKey(id: Array(0..<16), key: SecretBytes(Array(0x60..<0x80)))
        let derived = try hex(GCMEncryption(volumeKey: key).derivedKey(for: Volume.cacheKeyLabel))
        #expect(derived == "f3ea80fd194178f94ac38a24d6073c3bb7540daf827ac984e3292fe5f7b5af40")
    }

    @Test("another label, volume, key or password gives another key, and none is the key of the blocks")
    func different() throws {
        let keys = [
            try hex(CodecFixture.gcm(id: 1, key: 2).derivedKey(for: "a")),
            try hex(CodecFixture.gcm(id: 1, key: 2).derivedKey(for: "b")),
            try hex(CodecFixture.gcm(id: 2, key: 2).derivedKey(for: "a")),
            try hex(CodecFixture.gcm(id: 1, key: 3).derivedKey(for: "a")),
            try hex(CodecFixture.compatible(.aes128CBC).derivedKey(for: "a")),
            try hex(CodecFixture.compatible(.aes128CBC).derivedKey(for: "b")),
            try hex(CodecFixture.compatible(.aes128CBC, password: "hunter3").derivedKey(for: "a")),
            try hex(CodecFixture.compatible(.aes128CBC, salt: "bkt/other/").derivedKey(for: "a")),
            try hex(CodecFixture.compatible(.aes256CBC).derivedKey(for: "a")),
            try hex(CodecFixture.compatible(.aes256CBC).key),
            String(repeating: "02", count: 32),
        ]
        #expect(Set(keys).count == keys.count)
        #expect(keys.allSatisfy { $0.utf8.count == 64 })
        #expect(try hex(CodecFixture.gcm().derivedKey(for: "a")) == hex(CodecFixture.gcm().derivedKey(for: "a")))
    }

    @Test("a volume without encryption has none")
    func none() { #expect(CodecFixture("plain").codec.derivedKey(for: "a") == nil) }
}
