// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import ObjectStores
import StoreTesting
import Testing
@testable import Volumes

/// Whoever changes an encrypted object makes an error of it, and never data.
@Suite("Tampering", .serialized)
struct TamperingTests {
    @Test("every flipped bit of the body is noticed", arguments: CodecFixture.encrypted)
    func body(fixture: CodecFixture) throws {
        let form = fixture.object(fixture.block(), of: 5)
        let codec = fixture.codec
        #expect(form.failure(in: codec, as: 5) == nil)
        for index in form.body.indices {
            for bit in 0..<8 {
                var changed = form
                changed.body[index] ^= 1 << UInt8(bit)
                #expect(changed.failure(in: codec, as: 5)?.kind == .notAuthentic, "byte \(index), bit \(bit)")
            }
        }
    }

    @Test("every flipped bit of the HMAC's header is noticed", arguments: CodecFixture.encrypted)
    func authentication(fixture: CodecFixture) throws {
        let form = fixture.object(fixture.block(), of: 5)
        guard let text = form.user["s3backer-hmac"] else {
            #expect(form.user.isEmpty)
            return
        }
        #expect(text.utf8.count == 42 && text.hasPrefix("\"") && text.hasSuffix("\""))
        let codec = fixture.codec
        for changedText in Self.flips(of: text) + ["", "\"\"", String(text.dropLast()), text.uppercased(), text + " "] {
            var changed = form
            changed.user["s3backer-hmac"] = changedText
            #expect(changed.failure(in: codec, as: 5)?.kind == .notAuthentic, "\(changedText)")
        }
        var changed = form
        changed.user = [:]
        #expect(changed.failure(in: codec, as: 5)?.kind == .notEncrypted)
    }

    @Test("every flipped bit of Content-Encoding is noticed, and so is a list without it", arguments: CodecFixture.encrypted)
    func encoding(fixture: CodecFixture) throws {
        let form = fixture.object(fixture.block(), of: 5)
        let text = try required(form.contentEncoding)
        let elements = ContentEncoding(parsing: text).elements
        var texts: [String?] = Self.flips(of: text) + [nil, "", "identity", text.lowercased(), text.uppercased()]
        texts += ["identity, \(text)", "deflate, zstd, \(elements[elements.count - 1])", elements[0] + ", " + text]
        texts += elements.count == 1 ? ["deflate, \(text)", "zstd, \(text)"] : [elements[0], elements[1]]
        texts.append(
            elements.count == 1 ? nil : [elements[0] == "zstd" ? "deflate" : "zstd", elements[1]].joined(separator: ", "))
        let codec = fixture.codec
        for changedText in texts {
            var changed = form
            changed.contentEncoding = changedText
            #expect(changed.failure(in: codec, as: 5) != nil, "\(changedText ?? "none")")
        }
    }

    @Test("compressed bytes as many as a block has are no block, when the element that tells the compression is taken away")
    func compressionTakenAway() {
        for fixture in CodecFixture.encrypted {
            guard let encryption = fixture.encryption as? CompatibleEncryption else { continue }
            // What the HMAC covers is the same as for a block whose compressed form happens to have this length.
            let compressed = [UInt8](repeating: 7, count: CodecFixture.blockSize)
            let encoding = ContentEncoding(elements: [encryption.encodingName])
            var body = [UInt8](repeating: 0, count: compressed.count + encryption.tailCountMax)
            let (count, user) = body.withUnsafeMutableBytes { body in
                compressed.withUnsafeBytes { encryption.encrypt($0, into: body, of: 5, encoding) }
            }
            let form = StoredForm(body: Array(body[..<count]), contentEncoding: encoding.text, user: user)
            #expect(form.failure(in: fixture.codec, as: 5)?.kind == .unknownEncoding, "\(fixture)")
        }
    }

    @Test("an object cut off anywhere, or made longer, is noticed", arguments: CodecFixture.encrypted)
    func length(fixture: CodecFixture) {
        let form = fixture.object(fixture.block(), of: 5)
        let codec = fixture.codec
        for count in 0..<form.body.count {
            var changed = form
            changed.body.removeSubrange(count...)
            #expect(changed.failure(in: codec, as: 5) != nil, "cut to \(count)")
        }
        for tail in [[0], [UInt8](repeating: 16, count: 16), form.body] {
            var changed = form
            changed.body += tail
            #expect(changed.failure(in: codec, as: 5) != nil)
        }
    }

    @Test("a block's object is no other block's", arguments: CodecFixture.encrypted)
    func swap(fixture: CodecFixture) {
        let form = fixture.object(fixture.block(), of: 5)
        for block in [0, 4, 6, 0x0500_0000, 0x5000_0000, 0x15] as [BlockNumber] {
            #expect(form.failure(in: fixture.codec, as: block)?.kind == .notAuthentic)
        }
    }

    @Test("an object of another volume with the same password is noticed")
    func otherVolume() {
        for cipher in [BlockCipher.aes128CBC, .desEDE3CBC, .aria256CBC] {
            let writer = CodecFixture("", nil, CodecFixture.compatible(cipher, salt: "bkt/vm/"))
            let form = writer.object(writer.block(), of: 5)
            for salt in ["bkt/vm2/", "bkt/", "bkt2/vm/", "bkt/vm"] {
                let reader = CodecFixture("", nil, CodecFixture.compatible(cipher, salt: salt))
                #expect(form.failure(in: reader.codec, as: 5)?.kind == .notAuthentic)
            }
        }
        for compression in [nil, Compression.zstd(level: 3)] {
            let writer = CodecFixture("", compression, CodecFixture.gcm())
            let form = writer.object(writer.block(), of: 5)
            for encryption in [CodecFixture.gcm(id: 9), CodecFixture.gcm(key: 9)] {
                let reader = CodecFixture("", compression, encryption)
                #expect(form.failure(in: reader.codec, as: 5)?.kind == .notAuthentic)
            }
        }
    }

    /// A volume on objects in memory; what is written to it is read back from there.
    private struct Store {
        let objects = MemoryObjectStore()
        let keys = BlockKeyScheme(prefix: "vm/", isHashed: false)
        let volume: DirectVolume

        init(_ fixture: CodecFixture) throws {
            volume = DirectVolume(
                over: objects, keys: keys,
                geometry: try required(BlockGeometry(blockSize: CodecFixture.blockSize, blockCount: 16)),
                codec: fixture.codec, isFirstBlockPresent: false, checksSizes: false, fence: nil,
                limits: SettlementLimits(attemptTimeout: .seconds(30)), timeline: ManualTimeline(), logger: quiet)
        }

        func form(of block: BlockNumber) async throws -> StoredForm {
            let answer = try await objects.get(keys.key(of: block), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
            guard case .object(let object) = answer else { throw FixtureError() }
            let metadata = object.attributes.metadata
            return StoredForm(body: object.body.bytes, contentEncoding: metadata.contentEncoding, user: metadata.user)
        }

        func put(_ form: StoredForm, as block: BlockNumber) async throws {
            _ = try await objects.put(keys.key(of: block), slice(form.body), form.metadata, .none, .foreground)
        }

        /// Why the block cannot be read; nil when it can.
        func failure(of block: BlockNumber) async -> BlockStoreError? {
            do {
                _ = try await volume.read(block, ifNot: nil, .foreground)
                return nil
            } catch {
                return error
            }
        }
    }

    @Test("a changed object fails the read of its block, and the error names block and object", arguments: CodecFixture.encrypted)
    func throughVolume(fixture: CodecFixture) async throws {
        let store = try Store(fixture)
        _ = try await store.volume.write(.bytes(slice(fixture.block())), to: 5, .foreground)
        #expect(try await store.volume.read(5, ifNot: nil, .foreground).contents?.spelt() == fixture.block())
        var form = try await store.form(of: 5)
        try await store.put(form, as: 6)
        form.body[20] ^= 1
        try await store.put(form, as: 5)
        for block in [5, 6] as [BlockNumber] {
            let error = await store.failure(of: block)
            #expect(error?.code == .corrupt)
            let start = "cannot read block \(block) (object \"vm/\(block)\"): its "
            #expect(error?.message.hasPrefix(start) == true, "\(error?.message ?? "none")")
            #expect(error?.message.contains("does not match") == true)
        }
    }

    @Test("every flipped bit of an object, in body or headers, fails the read of its block", arguments: CodecFixture.encrypted)
    func everyBitThroughVolume(fixture: CodecFixture) async throws {
        let store = try Store(fixture)
        _ = try await store.volume.write(.bytes(slice(fixture.block())), to: 5, .foreground)
        let form = try await store.form(of: 5)
        var changed: [StoredForm] = []
        for index in 0..<8 * form.body.count {
            changed.append(form)
            changed[changed.count - 1].body[index / 8] ^= 1 << UInt8(index % 8)
        }
        for text in Self.flips(of: try required(form.contentEncoding)) {
            changed.append(form)
            changed[changed.count - 1].contentEncoding = text
        }
        for text in Self.flips(of: form.user["s3backer-hmac"] ?? "") {
            changed.append(form)
            changed[changed.count - 1].user["s3backer-hmac"] = text
        }
        if form.user["s3backer-hmac"] != nil {
            // Also without the element that tells the compression, and with the other one.
            let elements = ContentEncoding(parsing: try required(form.contentEncoding)).elements
            for text in [elements[1], (elements[0] == "zstd" ? "deflate" : "zstd") + ", " + elements[1]] {
                changed.append(form)
                changed[changed.count - 1].contentEncoding = text
            }
        }
        for spoilt in changed {
            try await store.put(spoilt, as: 5)
            #expect(await store.failure(of: 5)?.code == .corrupt)
        }
        try await store.put(form, as: 5)
        #expect(await store.failure(of: 5) == nil)
    }

    /// The texts that differ in one bit.
    private static func flips(of text: String) -> [String] {
        let bytes = Array(text.utf8)
        return bytes.indices.flatMap { index in
            (0..<8).map { bit in
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                return String(decoding: changed, as: UTF8.self)
            }
        }
    }
}
