// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import ObjectStores
import StoreTesting
import Testing

@testable import Volumes

@Suite("Whether a volume is stored in the way, and under the password, that the user says")
struct PasswordCheckTests {
    typealias Way = EncryptedFixture.Way

    private let fixture = EncryptedFixture()
    /// What each mount asks for the mount token, at the least.
    private static let token = [
        "GET vm/s3backer-mounted", "PUT vm/s3backer-mounted", "PUT vm/s3backer-mounted", "GET vm/s3backer-mounted",
    ]

    /// Opens in vain; the store must be as it was.
    private func refusal(_ options: VolumeOptions) async -> VolumeError? {
        let keys = fixture.store.objects.keys
        _ = fixture.store.takeLog()
        let error = await #expect(throws: VolumeError.self) { _ = try await fixture.open(options) }
        #expect(fixture.store.objects.keys == keys)
        return error
    }

    private func read(_ volume: Volume, _ block: BlockNumber) async throws -> [UInt8]? {
        try await volume.blocks.read(block, ifNot: nil, .foreground).contents?.spelt()
    }

    /// Without detection, with both sizes.
    private func undetected(_ options: inout VolumeOptions) {
        options.detectsSizes = false
        options.sizes.blockSize = 4096
    }

    // MARK: Right

    @Test("a volume that is not encrypted, or only compressed, costs no request for this", arguments: [Way.plain, .deflate])
    func unencrypted(way: Way) async throws {
        try await fixture.make(way)
        try await fixture.close(try await fixture.open(fixture.options(way)))
        let log = fixture.store.takeLog()
        #expect(log.first == "HEAD vm/00000000")
        #expect(log.dropFirst().prefix(4) == Self.token[...])
        #expect(!log.contains { $0.hasPrefix("GET vm/0") || $0.hasPrefix("LIST") || $0.hasSuffix("s3backer-key") })
        // Its blocks may be compressed in another way than the new ones.
        for other in [Way.plain, .deflate] { try await fixture.close(try await fixture.open(fixture.options(other))) }
        _ = fixture.store.takeLog()
        _ = try await fixture.open(fixture.options(way, "geheim") { undetected(&$0) })
        #expect(fixture.store.takeLog() == Self.token)
    }

    @Test("the right password costs a read of block 0, and one of the key object where there is one")
    func requests() async throws {
        for way in [Way.aes128, .aes256, .gcm] {
            for isDetected in [true, false] {
                let fixture = EncryptedFixture()
                try await fixture.make(way)
                _ = try await fixture.open(
                    fixture.options(way) {
                        if !isDetected { undetected(&$0) }
                    })
                let head = isDetected ? ["HEAD vm/00000000"] : []
                let key = way == .gcm ? ["GET vm/s3backer-key"] : []
                #expect(fixture.store.takeLog() == head + key + ["GET vm/00000000"] + Self.token)
                #expect(fixture.log.take() == [])
            }
        }
    }

    @Test("an encrypted volume is made, written and read again", arguments: [Way.aes128, .aes256, .gcm])
    func life(way: Way) async throws {
        try await fixture.make(way)
        let volume = try await fixture.open(fixture.options(way))
        for block in 0..<7 as Range<BlockNumber> {
            #expect(try await read(volume, block) == [UInt8](repeating: UInt8(block.rawValue) + 1, count: 4096))
        }
        #expect(fixture.store.objects.keys.contains(fixture.key) == (way == .gcm))
    }

    // MARK: Wrong

    @Test(
        "a wrong password ends the mount before anything is written",
        arguments: [Way.aes128, .aes256, .gcm], [true, false])
    func wrongPassword(way: Way, isDetected: Bool) async throws {
        try await fixture.make(way)
        let error = await refusal(
            fixture.options(way, "falsch") {
                if !isDetected { undetected(&$0) }
            })
        #expect(error?.code == .password)
        let log = fixture.store.takeLog()
        #expect(!log.contains { $0.hasPrefix("PUT") || $0.hasPrefix("DELETE") || $0.hasSuffix("mounted") })
        guard way != .gcm else {
            #expect(log.last == "GET vm/s3backer-key")
            #expect(error?.message.contains("the password is not that of the volume") == true)
            return
        }
        #expect(log.filter { $0.hasPrefix("GET vm/0") }.count == 5)
        #expect(log.filter { $0.hasPrefix("LIST") }.count == 1)
        #expect(error?.message.hasPrefix("cannot open bucket \"b/vm\": block 00000000 (object \"vm/00000000\"): ") == true)
        #expect(error?.message.contains("check the password and --keyLength") == true)
        #expect(error?.message.contains("falsch") == false)
    }

    static let confusions: [(made: Way, opened: Way, cure: String)] = [
        (.aes128, .aes256, "the volume is encrypted with AES-128-CBC; use --encrypt=AES-128-CBC"),
        (.aes256, .aes128, "the volume is encrypted with AES-256-CBC; use --encrypt=AES-256-CBC"),
        (.aes128, .gcm, "the volume is encrypted with AES-128-CBC; use --encrypt=AES-128-CBC"),
        (.gcm, .aes128, "the volume is encrypted with AES-256-GCM; use --encrypt=AES-256-GCM"),
        (.plain, .aes128, "the volume is not encrypted; leave out --encrypt"),
        (.deflate, .gcm, "the volume is not encrypted; leave out --encrypt"),
        (.aes128, .plain, "the volume is encrypted with AES-128-CBC; use --encrypt=AES-128-CBC"),
        (.aes256, .deflate, "the volume is encrypted with AES-256-CBC; use --encrypt=AES-256-CBC"),
        (.gcm, .plain, "the volume is encrypted with AES-256-GCM; use --encrypt=AES-256-GCM"),
    ]

    @Test("a volume that is stored in another way is refused with the cure", arguments: confusions, [true, false])
    func confusion(_ row: (made: Way, opened: Way, cure: String), hasFirstBlock: Bool) async throws {
        try await fixture.make(row.made)
        if !hasFirstBlock { try await fixture.delete("vm/00000000") }
        let error = await refusal(fixture.options(row.opened) { $0.sizes.blockSize = hasFirstBlock ? nil : 4096 })
        #expect(error?.code == .encryption)
        #expect(error?.message == "cannot open bucket \"b/vm\": \(row.cure)")
        let log = fixture.store.takeLog()
        #expect(!log.contains { $0.hasPrefix("PUT") || $0.hasPrefix("DELETE") || $0.hasSuffix("mounted") })
        if hasFirstBlock, [.plain, .deflate].contains(row.opened) { #expect(log == ["HEAD vm/00000000"]) }
    }

    @Test("an encryption that is not known is named")
    func unknownCipher() async throws {
        try await fixture.make(.aes128)
        try await fixture.tamper("vm/00000000") { _, metadata in metadata.contentEncoding = "deflate, encrypt-ROT13" }
        let error = await refusal(fixture.options(.plain))
        #expect(error?.message.contains("\"ROT13\", which this program does not know") == true)
    }

    @Test("without detection, an encrypted volume opened without --encrypt is found before the first change")
    func plainWithoutDetection() async throws {
        try await fixture.make(.aes128)
        let volume = try await fixture.open(fixture.options(.plain) { undetected(&$0) })
        _ = fixture.store.takeLog()
        let error = await #expect(throws: BlockStoreError.self) {
            _ = try await volume.blocks.write(.filled(1), to: 9, .foreground)
        }
        #expect(error?.message.contains("use --encrypt=AES-128-CBC") == true)
        #expect(fixture.changedNothing())
    }

    @Test("a default Content-Encoding counts for objects without one")
    func defaultEncoding() async throws {
        try await fixture.make(.aes128)
        for name in fixture.store.objects.keys.map(\.name) {
            try await fixture.tamper(name) { _, metadata in metadata.contentEncoding = nil }
        }
        var options = fixture.options(.aes128)
        #expect(await refusal(options)?.message.contains("leave out --encrypt") == true)
        options.codec.defaultContentEncoding = ContentEncoding(parsing: "deflate,encrypt-AES-128-CBC")
        try await fixture.close(try await fixture.open(options))
        options.codec = fixture.options(.aes128, "falsch").codec
        options.codec.defaultContentEncoding = ContentEncoding(parsing: "deflate,encrypt-AES-128-CBC")
        #expect(await refusal(options)?.code == .password)
    }

    // MARK: Damage

    /// Ways to damage an object.
    enum Damage: CaseIterable, Sendable {
        case bit, cut, empty, encoding, header

        func apply(_ bytes: inout [UInt8], _ metadata: inout ObjectMetadata) {
            switch self {
            case .bit: bytes[bytes.count / 2] ^= 4
            case .cut: bytes.removeLast()
            case .empty: bytes = []
            case .encoding: metadata.contentEncoding = "deflate, encrypt-AES-192-CBC"
            case .header: metadata.contentEncoding = nil
            }
        }
    }

    @Test(
        "a damaged block 0 is told, and does not stop the mount with the right password",
        arguments: Damage.allCases, [Way.aes128, .gcm])
    func damagedFirstBlock(damage: Damage, way: Way) async throws {
        try await fixture.make(way)
        try await fixture.tamper("vm/00000000", damage.apply)
        let error = way == .gcm ? nil : await refusal(fixture.options(way, "falsch"))
        if way != .gcm { #expect(error != nil) }
        let volume = try await fixture.open(fixture.options(way))
        let lines = fixture.log.take()
        #expect(lines.count == 1)
        #expect(lines.first?.contains("block=00000000 ") == true && lines.first?.contains("object=vm/00000000") == true)
        #expect(try await read(volume, 3) == [UInt8](repeating: 4, count: 4096))
        await #expect(throws: BlockStoreError.self) { try await read(volume, 0) }
    }

    @Test("a few damaged blocks are passed over, and too many are not told from a wrong password", arguments: [Way.aes128, .gcm])
    func moreDamage(way: Way) async throws {
        try await fixture.make(way)
        for block in 0..<4 { try await fixture.tamper("vm/0000000\(block)", Damage.bit.apply) }
        try await fixture.close(try await fixture.open(fixture.options(way)))
        try await fixture.tamper("vm/00000004", Damage.bit.apply)
        let error = await refusal(fixture.options(way))
        #expect(error?.code == (way == .gcm ? .encryption : .password))
        #expect(error?.message.contains("block 00000000") == true)
    }

    @Test("damage beside a sound block 0 costs nothing and stops nothing", arguments: [Way.aes128, .gcm])
    func damagedElsewhere(way: Way) async throws {
        try await fixture.make(way)
        for block in 1..<7 { try await fixture.tamper("vm/0000000\(block)", Damage.bit.apply) }
        _ = try await fixture.open(fixture.options(way))
        #expect(fixture.store.takeLog().filter { $0.hasPrefix("GET vm/0") } == ["GET vm/00000000"])
    }

    @Test(
        "with another block size the password is right all the same; what cannot be read is told", arguments: [Way.aes128, .gcm])
    func otherBlockSize(way: Way) async throws {
        try await fixture.make(way)
        let options = fixture.options(way) {
            undetected(&$0)
            $0.sizes.blockSize = 8192
        }
        let volume = try await fixture.open(options)
        #expect(fixture.log.take().filter { $0.contains("was the volume written with another block size?") }.count == 1)
        _ = fixture.store.takeLog()
        await #expect(throws: BlockStoreError.self) { try await volume.blocks.write(.filled(1, count: 8192), to: 9, .foreground) }
        #expect(fixture.changedNothing())
    }

    @Test(
        "what is authentic by the default Content-Encoding, however that is spelt, tells the password too", arguments: ["", nil])
    func otherBlockSizeByDefault(header: String?) async throws {
        try await fixture.make(.gcm)
        for block in 0..<7 {
            try await fixture.tamper("vm/0000000\(block)") { _, metadata in metadata.contentEncoding = header }
        }
        let options = fixture.options(.gcm) {
            undetected(&$0)
            $0.sizes.blockSize = 8192
            $0.codec.defaultContentEncoding = ContentEncoding(parsing: "encrypt-aes-256-gcm")
        }
        _ = try await fixture.open(options)
        #expect(fixture.log.take().filter { $0.contains("was the volume written with another block size?") }.count == 1)
    }

    @Test("where block 0 is zeros without an object, another block is tried", arguments: [Way.aes128, .gcm], [true, false])
    func withoutFirstBlock(way: Way, isDetected: Bool) async throws {
        try await fixture.make(way)
        try await fixture.delete("vm/00000000", "vm/00000001")
        let options = { (password: String) in
            fixture.options(way, password) {
                if isDetected { $0.sizes.blockSize = 4096 } else { undetected(&$0) }
            }
        }
        #expect(await refusal(options("falsch"))?.code == .password)
        _ = fixture.store.takeLog()
        let volume = try await fixture.open(options("geheim"))
        #expect(fixture.store.takeLog().filter { $0.hasPrefix("GET vm/00000002") }.count == 1)
        #expect(try await read(volume, 2) == [UInt8](repeating: 3, count: 4096))
    }

    // MARK: The key object

    @Test("a volume with blocks and without its key object is refused, and gets no other key", arguments: [true, false])
    func keyMissing(isDetected: Bool) async throws {
        try await fixture.make(.gcm)
        try await fixture.delete(fixture.key.name)
        let error = await refusal(
            fixture.options(.gcm) {
                if !isDetected { undetected(&$0) }
            })
        #expect(error?.code == .encryption)
        #expect(
            error?.message == "cannot open bucket \"b/vm\": its key object \"vm/s3backer-key\" is missing, and it has blocks "
                + "(\"vm/00000000\"); restore the object from a copy")
        #expect(fixture.changedNothing())
    }

    @Test("where it cannot be told whether there are blocks, no key is made")
    func keyNotMade() async throws {
        fixture.store.on { $0.hasPrefix("LIST") ? .fails(failure(.forbidden)) : .done }
        let error = await refusal(fixture.options(.gcm) { $0.sizes.blockSize = 4096 })
        #expect(error?.code == .encryption)
        #expect(error?.message.contains("whether it has blocks is not known (the store says forbidden)") == true)
        // Blocks with the other kind of names are this volume's, too, if the user is wrong.
        let fixture = EncryptedFixture()
        try await fixture.make(.plain, blocks: [1])
        let options = fixture.options(.gcm) {
            $0.keys = BlockKeyScheme(prefix: "vm/", isHashed: true)
            $0.sizes.blockSize = 4096
            $0.isForced = true
        }
        let other = await #expect(throws: VolumeError.self) { try await fixture.open(options) }
        #expect(other?.code == .encryption)
        #expect(!fixture.store.objects.keys.contains(fixture.key))
    }

    @Test("a read-only mount makes no key, and needs none to be made where there is one")
    func keyReadOnly() async throws {
        let error = await refusal(fixture.options(.gcm) { $0.isReadOnly = true })
        #expect(error?.message.contains("its first mount cannot be read-only") == true)
        #expect(fixture.changedNothing())
        try await fixture.make(.gcm)
        let volume = try await fixture.open(fixture.options(.gcm) { $0.isReadOnly = true })
        #expect(try await read(volume, 1) == [UInt8](repeating: 2, count: 4096))
    }

    @Test("the key is made after the mount token, once, and a mount that is refused the token makes none")
    func keyAfterToken() async throws {
        try await fixture.close(try await fixture.open(fixture.options(.gcm)))
        let log = fixture.store.takeLog()
        let made = try required(log.firstIndex(of: "PUT vm/s3backer-key"))
        #expect(made > (try required(log.firstIndex(of: "PUT vm/s3backer-mounted"))))
        try await fixture.close(try await fixture.open(fixture.options(.gcm)))
        #expect(!fixture.store.takeLog().contains("PUT vm/s3backer-key"))
        let other = EncryptedFixture()
        _ = try await other.open(other.options(.plain))
        let error = await #expect(throws: VolumeError.self) { try await other.open(other.options(.gcm)) }
        #expect(error?.code == .alreadyMounted)
        #expect(!other.store.objects.keys.contains(other.key))
    }

    @Test("when the key cannot be made, the mount token is given back")
    func tokenGivenBack() async throws {
        fixture.store.on { $0 == "PUT vm/s3backer-key" ? .fails(failure(.forbidden)) : .done }
        #expect(await refusal(fixture.options(.gcm))?.code == .store)
        #expect(fixture.store.objects.keys == [])
    }

    @Test("blocks that appear while the mount token is taken stop the making of a key")
    func blocksAppear() async throws {
        let objects = fixture.store.objects
        fixture.store.on { request in
            if request == "PUT vm/s3backer-mounted" {
                let body = BufferSlice(Buffer(copying: [1]))
                do {
                    _ = try await objects.put(ObjectKey("vm/00000005"), body, ObjectMetadata(), .none, .foreground)
                } catch { Issue.record(error) }
            }
            return .done
        }
        let error = await #expect(throws: VolumeError.self) { try await fixture.open(fixture.options(.gcm)) }
        #expect(error?.code == .encryption)
        #expect(objects.keys == [ObjectKey("vm/00000005")])
    }

    @Test("a fresh volume that has a key object is not written in another way", arguments: [Way.plain, .deflate, .aes128])
    func keyOfOther(way: Way) async throws {
        try await fixture.close(try await fixture.open(fixture.options(.gcm)))
        let error = await refusal(fixture.options(way))
        #expect(error?.code == .encryption)
        #expect(
            error?.message.contains("it has no block yet, but a key object \"vm/s3backer-key\"; use --encrypt=AES-256-GCM")
                == true)
        #expect(fixture.changedNothing())
    }

    @Test("the key object of another volume with the same password is found by the blocks")
    func keySwapped() async throws {
        try await fixture.make(.gcm)
        let other = EncryptedFixture()
        try await other.make(.gcm)
        let read = try await other.store.objects.get(other.key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = read else { throw FixtureError() }
        _ = try await fixture.store.objects.put(fixture.key, object.body, ObjectMetadata(), .none, .foreground)
        let error = await refusal(fixture.options(.gcm))
        #expect(error?.code == .encryption)
        #expect(error?.message.contains("is another volume's, or blocks were changed") == true)
        #expect(fixture.changedNothing())
    }

    @Test("where no block can be found, the mount goes on, and says that the password was not tried")
    func notTried() async throws {
        fixture.store.on { $0.hasPrefix("LIST") ? .fails(failure(.forbidden)) : .done }
        _ = try await fixture.open(fixture.options(.aes128) { $0.sizes.blockSize = 4096 })
        #expect(fixture.log.take().filter { $0.contains("no block was found on which the password could be tried") }.count == 1)
    }
}
