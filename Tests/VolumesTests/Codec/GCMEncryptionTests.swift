// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import StoreTesting
import Testing
@testable import Volumes

@Suite("Blocks under AES-256-GCM")
struct GCMEncryptionTests {
    static let id = (0..<16).map { UInt8($0) }
    static let key = (0..<32).map { UInt8(0xa0 + $0) }

    private func fixture(_ compression: Compression?) -> CodecFixture {
        let key = VolumeKey(id: Self.id, key: SecretBytes(Self.key))
        return CodecFixture("", compression, GCMEncryption(volumeKey: key))
    }

    @Test(
        "a body is nonce, text and tag; the tag covers volume, block and list",
        arguments: [
            (nil, "encrypt-AES-256-GCM"), (Compression.deflate(level: 1), "deflate,encrypt-AES-256-GCM"),
            (.zstd(level: 3), "zstd,encrypt-AES-256-GCM"),
        ])
    func layout(compression: Compression?, text: String) throws {
        let fixture = fixture(compression)
        let form = fixture.object(fixture.block(), of: 0x0102_0304)
        #expect(form.contentEncoding == text.replacing(",", with: ", ") && form.user.isEmpty)
        #expect(ContentEncoding(parsing: text).canonicalText == text)
        let data = Self.id + [0, 0, 0, 0, 1, 2, 3, 4] + Array(text.utf8)
        var plain = [UInt8](repeating: 0, count: form.body.count - 40)
        let isAuthentic = plain.withUnsafeMutableBytes { plain in
            data.withUnsafeBytes { data in
                form.body.withUnsafeBytes { body in
                    XAES256GCM(key: SecretBytes(Self.key)).open(
                        UnsafeRawBufferPointer(rebasing: body[24..<(body.count - 16)]),
                        nonce: UnsafeRawBufferPointer(rebasing: body[..<24]), additionalData: data,
                        tag: UnsafeRawBufferPointer(rebasing: body[(body.count - 16)...]), into: plain)
                }
            }
        }
        #expect(isAuthentic)
        switch compression {
        case nil: #expect(plain == fixture.block() && form.body.count == CodecFixture.blockSize + 40)
        case .deflate: #expect(try Deflate(level: 1).decompressed(plain, count: CodecFixture.blockSize) == fixture.block())
        case .zstd: #expect(try Zstd(level: 3).decompressed(plain, count: CodecFixture.blockSize) == fixture.block())
        }
    }

    @Test("no two objects have the same nonce, nor a half of one")
    func nonces() {
        let fixture = fixture(nil)
        var halves: Set<[UInt8]> = []
        for _ in 0..<1000 {
            let body = fixture.object(fixture.block(), of: 1).body
            halves.insert(Array(body[..<12]))
            halves.insert(Array(body[12..<24]))
        }
        #expect(halves.count == 2000)
    }

    @Test("a body shorter than nonce and tag is refused")
    func short() {
        let fixture = fixture(nil)
        for count in 0..<40 {
            let form = StoredForm(body: [UInt8](repeating: 0, count: count), contentEncoding: "encrypt-AES-256-GCM", user: [:])
            let error = form.failure(in: fixture.codec, as: 1)
            #expect(error?.message == "it has only \(count) bytes, fewer than a nonce and a tag: the object was changed")
        }
    }
}
