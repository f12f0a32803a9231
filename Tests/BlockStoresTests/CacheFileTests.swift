// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import StoreTesting
import Synchronization
import Testing

@testable import BlockStores

@Suite("The cache file") struct CacheFileTests {
    private final class Written: Sendable {
        let bytes = Mutex<[Int: UInt8]>([:])
    }

    private func makeFile(
        isEncrypted: Bool = false, slotCount: Int = 4, spareCount: Int = 4, zeroEventCount: Int = 16
    ) throws -> (file: CacheFile, disk: CacheFileRecorder) {
        try CacheFileRecorder.make(
            isEncrypted: isEncrypted, slotCount: slotCount, spareCount: spareCount, zeroEventCount: zeroEventCount)
    }

    private func again(_ disk: CacheFileRecorder, isEncrypted: Bool = false) throws -> CacheFile {
        try CacheFileRecorder.start(on: disk.bytes, isEncrypted: isEncrypted)
    }

    @Test("what was written is read, in any part of it", arguments: [false, true])
    func reads(isEncrypted: Bool) async throws {
        let (file, _) = try makeFile(isEncrypted: isEncrypted)
        try file.assign(CacheSlot(1), to: BlockNumber(9))
        try await file.put(7, 0..<2, 9, 1)
        try await file.put(8, 2..<3, 9, 1, .store)
        let middle = try file.get(8000..<8400, 9, 1)
        #expect(middle == [UInt8](repeating: 7, count: 192) + [UInt8](repeating: 8, count: 208))
        #expect(storageCode { _ = try file.get(0..<16384, 9, 1) } == .corrupt, "the last sector was never written")
        #expect(try file.byte(1, 9, 1) == 7)
    }

    @Test("a changed byte on the disk is an error, and never data", arguments: [false, true])
    func detectsRot(isEncrypted: Bool) async throws {
        let (file, disk) = try makeFile(isEncrypted: isEncrypted)
        try file.assign(CacheSlot(0), to: BlockNumber(5))
        try await file.put(7, 0..<1, 5, 0, .store)
        let places = [file.layout.dataOffset(0) + 4000, file.layout.recordOffset(0) + 50, file.layout.recordOffset(0) + 8]
        for place in places {
            disk.state.withLock { $0.bytes[Int(place)] ^= 1 }
            #expect(storageCode { _ = try file.byte(0, 5, 0) } == .corrupt)
            disk.state.withLock { $0.bytes[Int(place)] ^= 1 }
            #expect(try file.byte(0, 5, 0) == 7)
        }
    }

    @Test("an encrypted file does not show what it holds")
    func hides() async throws {
        for isEncrypted in [false, true] {
            let (file, disk) = try makeFile(isEncrypted: isEncrypted)
            try file.assign(CacheSlot(0), to: BlockNumber(5))
            try await file.put(0x41, 0..<1, 5, 0)
            let text = [UInt8](repeating: 0x41, count: 64)
            let start = Int(file.layout.dataOffset(0))
            #expect((Array(disk.bytes[start..<start + 64]) == text) != isEncrypted)
        }
    }

    @Test("a restart finds dirty, clean and zeroed blocks as they were", arguments: [false, true])
    func restores(isEncrypted: Bool) async throws {
        let (file, disk) = try makeFile(isEncrypted: isEncrypted)
        try file.assign(CacheSlot(2), to: BlockNumber(30))
        try await file.put(1, 0..<4, 30, 2, .store)
        try file.setVersion(.tag("\"etag\""), of: BlockNumber(30), in: CacheSlot(2), upTo: file.mark)
        try await file.put(2, 1..<2, 30, 2)
        try file.recordZeros(BlockSet(blocks: [BlockNumber(40), BlockNumber(41)]))
        try file.assign(CacheSlot(3), to: BlockNumber(41))
        try await file.put(3, 3..<4, 41, 3)
        try await file.commit()
        let next = try again(disk, isEncrypted: isEncrypted)
        #expect(next.contents.dirtyBlockCount == 2 && next.contents.pendingZeroCount == 2 && !next.contents.isDistrusted)
        let (blocks, zeros) = try next.restore()
        #expect(Array(zeros.blocks) == [BlockNumber(40), BlockNumber(41)])
        let first = blocks.first { $0.block == BlockNumber(30) }
        #expect(first?.valid == [0b1111] && first?.dirty == [0b0010] && first?.isZeroElsewhere == false)
        let second = blocks.first { $0.block == BlockNumber(41) }
        #expect(second?.valid == [0b1000] && second?.dirty == [0b1000] && second?.isZeroElsewhere == true)
        #expect(next.version(of: BlockNumber(30), in: CacheSlot(2)) == .tag("\"etag\""))
        #expect(try next.byte(1, 30, 2) == 2 && next.byte(2, 30, 2) == 1 && next.byte(3, 41, 3) == 3)
    }

    @Test("a mark covers what was written up to it, and nothing later")
    func marks() async throws {
        let (file, disk) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<2, 1, 0)
        let mark = file.mark
        try await file.put(2, 1..<2, 1, 0)
        try await file.commit()
        try file.setVersion(.unknown, of: BlockNumber(1), in: CacheSlot(0), upTo: mark)
        #expect(try again(disk).restore().blocks.first?.dirty == [0b10])
    }

    @Test("what is only fetched makes nothing clean that is dirty, and nothing dirty that is clean")
    func fetchedBeside() async throws {
        let (file, disk) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<1, 1, 0)
        try file.setVersion(.tag("one"), of: BlockNumber(1), in: CacheSlot(0), upTo: file.mark)
        try await file.put(2, 1..<2, 1, 0)
        try await file.put(3, 2..<4, 1, 0, .store)
        try file.setVersion(.unknown, of: BlockNumber(1), in: CacheSlot(0), upTo: nil)
        try await file.commit()
        let block = try #require(try again(disk).restore().blocks.first)
        #expect(block.dirty == [0b10] && block.valid == [0b11])
        #expect(try again(disk).version(of: BlockNumber(1), in: CacheSlot(0)) == .unknown)
    }

    @Test("zeros that were recorded after a mark are not forgotten with those before it")
    func forgettingUpToAMark() async throws {
        let (file, disk) = try makeFile()
        try file.recordZeros(BlockSet(blocks: [BlockNumber(1), BlockNumber(2)]))
        let mark = file.mark
        try file.recordZeros(BlockSet(blocks: [BlockNumber(2), BlockNumber(3)]))
        try file.forgetZeros(BlockSet(blocks: [BlockNumber(1), BlockNumber(2), BlockNumber(3)]), upTo: mark)
        try await file.commit()
        #expect(try again(disk).restore().zeros.blocks.map(\.rawValue) == [2, 3])
    }

    @Test("the cache file keeps the contract of cache storages", arguments: [false, true])
    func contract(isEncrypted: Bool) async throws {
        for rule in CacheStorageContract.cases {
            let folder = try CacheFolder()
            let file = try folder.open(CacheFolder.options(key: isEncrypted ? CacheFolder.key : nil))
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(file, 16384) }
        }
    }

    @Test("a released slot gives nothing back, and zeros that were forgotten do not return")
    func releases() async throws {
        let (file, disk) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<4, 1, 0)
        try file.recordZeros(BlockSet(blocks: [BlockNumber(1), BlockNumber(2)]))
        try file.release(CacheSlot(0), of: BlockNumber(1), wasDirty: true)
        try await file.commit()
        let (blocks, zeros) = try again(disk).restore()
        #expect(blocks.isEmpty && Array(zeros.blocks) == [BlockNumber(1), BlockNumber(2)])
        try file.forgetZeros(BlockSet(blocks: [BlockNumber(1)]), upTo: file.mark)
        let later = try again(disk).restore()
        #expect(later.blocks.isEmpty && Array(later.zeros.blocks) == [BlockNumber(2)])
    }

    @Test("of two slots that claim a block, the one with committed data wins, and the other claim is gone for good")
    func twoClaims() async throws {
        let (file, disk) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<4, 1, 0)
        try await file.commit()
        // A crash loses the zeros and the release, and keeps what came after.
        let before = disk.bytes
        try file.recordZeros(BlockSet(blocks: [BlockNumber(1)]))
        try file.release(CacheSlot(0), of: BlockNumber(1), wasDirty: true)
        let lost = [
            file.layout.zeroLogOffset(0)..<file.layout.zeroLogOffset(1),
            file.layout.descriptorOffset(0)..<file.layout.descriptorOffset(1),
        ]
        try file.assign(CacheSlot(1), to: BlockNumber(1))
        try await file.put(2, 0..<1, 1, 1)
        var bytes = disk.bytes
        for range in lost { for index in Int(range.lowerBound)..<Int(range.upperBound) { bytes[index] = before[index] } }
        let after = CacheFileRecorder(bytes)
        let form = CacheFileWorld.Form(isEncrypted: false)
        let next = try CacheFileWorld.open(after, form)
        let blocks = try next.restore().blocks
        #expect(blocks.map(\.slot) == [CacheSlot(0)] && blocks.first?.dirty == [0b1111])
        #expect(try next.byte(0, 1, 0) == 1)
        try next.setVersion(.tag("v"), of: BlockNumber(1), in: CacheSlot(0), upTo: next.mark)
        let last = try CacheFileWorld.open(CacheFileRecorder(after.bytes), form).restore().blocks
        #expect(last.map(\.slot) == [CacheSlot(0)] && last.first?.dirty == [0])
    }

    @Test("a long name of a version is not kept, rather than cut")
    func longVersions() throws {
        let (file, _) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        let longest = String(repeating: "x", count: CacheFileDescriptor.versionSizeMax)
        for (version, kept) in [
            (BlockVersion.tag(longest), BlockVersion.tag(longest)), (.tag(longest + "x"), .unknown), (.zero, .zero),
        ] {
            try file.setVersion(version, of: BlockNumber(1), in: CacheSlot(0), upTo: file.mark)
            #expect(file.version(of: BlockNumber(1), in: CacheSlot(0)) == kept)
        }
        #expect(file.version(of: BlockNumber(2), in: CacheSlot(0)) == .unknown, "another block's")
    }

    /// It takes a second thread to ask while the first one is held up.
    @Test(
        "one fdatasync serves all who ask while another one runs", .enabled(if: ProcessInfo.processInfo.activeProcessorCount > 1))
    func groupCommit() async throws {
        let (file, disk) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<1, 1, 0)
        let before = disk.state.withLock { $0.syncCount }
        try await withThrowingTaskGroup(of: Void.self) { group in
            disk.duringSync.withLock { hook in
                hook = {
                    // The first one lasts until all others have come.
                    while disk.state.withLock({ $0.syncCount }) == before + 1, file.state.withLock({ $0.waiting.count }) < 20 {}
                }
            }
            group.addTask { try await file.commit() }
            while !file.state.withLock({ $0.isCommitting }) { await Task.yield() }
            for _ in 0..<20 { group.addTask { try await file.commit() } }
            try await group.waitForAll()
        }
        #expect(disk.state.withLock { $0.syncCount } - before == 2)
        try await file.commit()
        #expect(disk.state.withLock { $0.syncCount } - before == 2, "nothing was written since")
    }

    @Test("after a failed fdatasync nothing is promised any more, also after a restart")
    func distrust() async throws {
        let (file, disk) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<1, 1, 0)
        disk.state.withLock { $0.failsSyncs = true }
        await #expect(throws: BlockStoreError.self) { try await file.commit() }
        disk.state.withLock { $0.failsSyncs = false }
        #expect(!file.isTrusted)
        await #expect(throws: BlockStoreError.self) { try await file.commit() }
        for byte in UInt8(2)..<20 { try await file.put(byte, 0..<1, 1, 0) }
        #expect(try file.byte(0, 1, 0) == 19, "reading and writing go on")
        let next = try again(disk)
        #expect(next.contents.isDistrusted && next.contents.dirtyBlockCount == 1 && !next.isTrusted)
    }

    @Test("a failed write is an error, and leaves no version behind that was not acknowledged")
    func failedWrite() async throws {
        let (file, disk) = try makeFile()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<1, 1, 0)
        try await file.commit()
        disk.state.withLock { $0.failsWrites = true }
        await #expect(throws: BlockStoreError.self) { try await file.put(2, 0..<1, 1, 0) }
        disk.state.withLock { $0.failsWrites = false }
        #expect(try file.byte(0, 1, 0) == 1)
        #expect(!file.isTrusted, "the record could not be erased either")
    }

    @Test("spares never run out, however often committed sectors are written again")
    func spares() async throws {
        let (file, disk) = try makeFile(slotCount: 8, spareCount: 3)
        for slot in 0..<8 { try file.assign(CacheSlot(slot), to: BlockNumber(slot)) }
        var generator = SeededGenerator(seed: 1)
        var bytes = [Int: UInt8]()
        for step in 0..<400 {
            let key = Int.random(in: 0..<32, using: &generator)
            let byte = UInt8(step % 250)
            try await file.put(byte, key % 4..<key % 4 + 1, key / 4, key / 4)
            bytes[key] = byte
            if generator.chance(0.7) { try await file.commit() }
        }
        for (key, byte) in bytes { #expect(try file.byte(key % 4, key / 4, key / 4) == byte) }
        try await file.commit()
        let next = try CacheFileWorld.open(CacheFileRecorder(disk.bytes), CacheFileWorld.Form(isEncrypted: false, slotCount: 8))
        _ = try next.restore()
        for (key, byte) in bytes { #expect(try next.byte(key % 4, key / 4, key / 4) == byte) }
    }

    @Test("a write larger than all spares is refused, not waited for without end")
    func tooFewSpares() async throws {
        let (file, _) = try makeFile(spareCount: 3)
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<4, 1, 0)
        try await file.commit()
        await #expect(throws: BlockStoreError.self) { try await file.put(2, 0..<4, 1, 0) }
        #expect(try file.byte(3, 1, 0) == 1)
    }

    @Test("zeros in many runs move to a longer log, and back")
    func longZeroLog() async throws {
        let (file, disk) = try makeFile(zeroEventCount: 16)
        let all = (0..<200).map { BlockNumber($0 * 2) }
        for block in all { try file.recordZeros(BlockSet(blocks: [block])) }
        try await file.commit()
        #expect(try again(disk).restore().zeros == BlockSet(blocks: all))
        for block in all.dropLast(3) { try file.forgetZeros(BlockSet(blocks: [block]), upTo: file.mark) }
        let rest = BlockSet(blocks: all.suffix(3))
        #expect(try again(disk).restore().zeros == rest)
        for block in 0..<500 { try file.recordZeros(BlockSet(blocks: [BlockNumber(1000 + block % 2)])) }
        #expect(file.zeroLog.withLock { $0.area.offset } < file.layout.size)
        #expect(try again(disk).restore().zeros.blockCount == 5)
    }

    @Test("zeros that the disk has no room for are refused, and those before stay")
    func noRoomForZeros() throws {
        let (file, disk) = try makeFile(zeroEventCount: 16)
        disk.state.withLock { $0.room = 0 }
        for block in 0..<16 { try file.recordZeros(BlockSet(blocks: [BlockNumber(block * 2)])) }
        #expect(storageCode { try file.recordZeros(BlockSet(blocks: [BlockNumber(100)])) } == .noSpace)
        #expect(try again(disk).restore().zeros.blockCount == 16)
    }

    @Test("the token survives a torn header")
    func tornHeader() async throws {
        let (file, disk) = try makeFile()
        try file.record(token: 0x1234_5678)
        for page in [0, 4096] {
            var bytes = disk.bytes
            bytes[page + 100] ^= 0xff
            let header = try CacheFileHeader.read(from: CacheFileRecorder(bytes))
            #expect(header?.token == 0x1234_5678 || header?.token == 0, "the newer one, or the one before")
            #expect(header != nil)
        }
        #expect(try again(disk).token == 0x1234_5678)
        try await file.close(keepsToken: false)
        #expect(try again(disk).token == nil)
    }

    @Test("many tasks at once neither hinder nor harm each other", arguments: UInt64(0)..<6)
    func together(seed: UInt64) async throws {
        let (file, disk) = try makeFile(isEncrypted: seed % 2 == 1, slotCount: 8, spareCount: 5)
        let written = Written()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for slot in 0..<8 {
                group.addTask {
                    var generator = SeededGenerator(seed: seed &* 100 &+ UInt64(slot))
                    try file.assign(CacheSlot(slot), to: BlockNumber(slot))
                    for step in 0..<150 {
                        let sector = Int.random(in: 0..<4, using: &generator)
                        let byte = UInt8(step)
                        try await file.put(byte, sector..<sector + 1, slot, slot)
                        written.bytes.withLock { $0[slot * 4 + sector] = byte }
                        if generator.chance(0.2) { try await file.commit() }
                        if generator.chance(0.1) {
                            try file.setVersion(.unknown, of: BlockNumber(slot), in: CacheSlot(slot), upTo: file.mark)
                        }
                        if try file.byte(sector, slot, slot) != byte { Issue.record("seed \(seed): slot \(slot), step \(step)") }
                    }
                    try await file.commit()
                }
            }
            try await group.waitForAll()
        }
        let form = CacheFileWorld.Form(isEncrypted: seed % 2 == 1, slotCount: 8)
        let next = try CacheFileWorld.open(CacheFileRecorder(disk.bytes), form)
        _ = try next.restore()
        for (key, byte) in written.bytes.withLock({ $0 }) { #expect(try next.byte(key % 4, key / 4, key / 4) == byte) }
        #expect(file.state.withLock { $0.ledger.userWrites.isEmpty && $0.ledger.writing.isEmpty && $0.ledger.rewriteCount == 0 })
    }
}
