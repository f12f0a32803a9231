// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Synchronization
import Testing

@testable import BlockStores

@Suite("The cache file on a disk that fails") struct CacheFileFaultTests {
    @Test("the mark of distrust is in every header that is written later")
    func distrustStays() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<1, 1, 0)
        disk.state.withLock { $0.failsSyncs = true }
        await #expect(throws: BlockStoreError.self) { try await file.commit() }
        disk.state.withLock { $0.failsSyncs = false }
        #expect(try CacheFileRecorder.start(on: disk.bytes).contents.isDistrusted)
        // The zero log is written anew, and with it the header, more than once.
        for block in 0..<100 { try file.zero(block % 3) }
        #expect(try CacheFileRecorder.start(on: disk.bytes).contents.isDistrusted)
        try file.record(token: 5)
        let next = try CacheFileRecorder.start(on: disk.bytes)
        #expect(next.contents.isDistrusted && next.contents.token == 5)
    }

    @Test("an error that was told to one open file only is no reason to leave the mark of distrust out")
    func distrustInSpiteOfTheOldError() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<1, 1, 0)
        disk.state.withLock { $0.errorCount += 1 }
        await #expect(throws: BlockStoreError.self) { try await file.commit() }
        #expect(try CacheFileRecorder.start(on: disk.image(losing: [0..<8192])).contents.isDistrusted, "it is durable")
    }

    @Test("a mark of distrust that could not be written is written as soon as that is possible")
    func distrustIsRetried() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<1, 1, 0)
        disk.state.withLock {
            $0.badBytes = 0..<8192
            $0.errorCount += 1
        }
        await #expect(throws: BlockStoreError.self) { try await file.commit() }
        disk.state.withLock { $0.badBytes = 0..<0 }
        #expect(try !CacheFileRecorder.start(on: disk.bytes).contents.isDistrusted)
        try file.noteStored(1, 0, "v")
        #expect(try CacheFileRecorder.start(on: disk.bytes).contents.isDistrusted)
    }

    @Test("a header that cannot be made durable takes the file's trust away, and stays in force")
    func headerNotDurable() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        disk.state.withLock { $0.errorCount += 1 }
        #expect(storageCode { try file.record(token: 5) } == .io)
        #expect(!file.isTrusted && file.token == 5)
        let next = try CacheFileRecorder.start(on: disk.bytes)
        #expect(next.contents.isDistrusted && next.contents.token == 5)
    }

    @Test("a write by the user succeeds though something before it cannot be made durable; trust goes instead")
    func settlingFails() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<1, 1, 0)
        try file.zero(1)
        try file.release(CacheSlot(0), of: BlockNumber(1), wasDirty: true)
        disk.state.withLock { $0.errorCount += 1 }
        try file.assign(0, 2)
        try await file.put(2, 0..<1, 2, 0)
        #expect(!file.isTrusted)
        #expect(try CacheFileRecorder.start(on: disk.bytes).contents.isDistrusted)
        let (other, otherDisk) = try CacheFileRecorder.make()
        for block in 0..<16 { try other.zero(block % 2) }
        otherDisk.state.withLock { $0.errorCount += 1 }
        try other.zero(3)
        #expect(!other.isTrusted)
        let next = try CacheFileRecorder.start(on: otherDisk.bytes)
        #expect(next.contents.isDistrusted && next.contents.pendingZeroCount == 3)
    }

    @Test("a zeroing that could not be recorded does not count at the next start, not even a part of it")
    func halfRecordedZeros() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.zero(7)
        let log = Int(file.layout.zeroLogOffset(0))..<Int(file.layout.zeroLogOffset(1))
        disk.state.withLock { $0.badBytes = log }
        let blocks = BlockSet(blocks: [BlockNumber(1), BlockNumber(3)])
        #expect(storageCode { try file.recordZeros(blocks) } == .io)
        #expect(file.isTrusted)
        #expect(try CacheFileRecorder.start(on: disk.bytes).restore().zeros.blocks.map(\.rawValue) == [7])
        try file.recordZeros(blocks)
        #expect(try CacheFileRecorder.start(on: disk.bytes).restore().zeros.blocks.map(\.rawValue) == [1, 3, 7])
        // Nor can the other area be written.
        disk.state.withLock { $0.badBytes = Int(file.layout.zeroLogOffset(0))..<Int(file.layout.dataOffset) }
        #expect(storageCode { try file.recordZeros(BlockSet(blocks: [BlockNumber(11), BlockNumber(13)])) } == .io)
        #expect(!file.isTrusted)
        #expect(try CacheFileRecorder.start(on: disk.bytes).contents.isDistrusted)
    }

    @Test("zeros are forgotten in another area when an entry cannot be written")
    func forgettingInABadArea() throws {
        let (file, disk) = try CacheFileRecorder.make()
        for block in [1, 3, 5] { try file.zero(block) }
        disk.state.withLock { $0.badBytes = Int(file.layout.zeroLogOffset(0))..<Int(file.layout.zeroLogOffset(1)) }
        try file.forgetZeros(BlockSet(blocks: [BlockNumber(3)]), upTo: file.mark)
        #expect(try CacheFileRecorder.start(on: disk.bytes).restore().zeros.blocks.map(\.rawValue) == [1, 5])
    }

    @Test("zeros can be forgotten one by one though the disk is full", arguments: [16, 200])
    func forgettingOnAFullDisk(count: Int) throws {
        let (file, disk) = try CacheFileRecorder.make()
        for block in 0..<count where count > 16 { try file.zero(2 * block) }
        disk.state.withLock { $0.room = $0.reserved }
        var blocks = count > 16 ? count : 0
        while storageCode({ try file.zero(2 * blocks) }) == nil { blocks += 1 }
        #expect(blocks >= count)
        let started = try CacheFileRecorder.start(on: disk.bytes)
        #expect(try started.restore().zeros.blockCount == UInt64(blocks))
        for block in 0..<blocks {
            try file.forgetZeros(BlockSet(blocks: [BlockNumber(2 * block)]), upTo: file.mark)
            guard block % 20 == 0 || block + 3 > blocks else { continue }
            #expect(try CacheFileRecorder.start(on: disk.bytes).contents.pendingZeroCount == blocks - block - 1)
        }
    }

    @Test("an overwrite that fails in its place goes elsewhere, and nothing is promised meanwhile", arguments: [false, true])
    func failedOverwrite(isRecordBad: Bool) async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<1, 1, 0)
        let bad = isRecordBad ? file.layout.recordOffset(0) : file.layout.dataOffset(0)
        disk.state.withLock { $0.badBytes = Int(bad)..<Int(bad) + 1 }
        try await file.put(2, 0..<2, 1, 0)
        #expect(try file.byte(0, 1, 0) == 2 && file.byte(1, 1, 0) == 2)
        disk.state.withLock { $0.badBytes = 0..<0 }
        try await file.commit()
        try await file.commit()
        #expect(file.isTrusted)
        let next = try CacheFileRecorder.start(on: disk.bytes)
        #expect(try next.restore().blocks.first?.dirty == [0b11])
        #expect(try next.byte(0, 1, 0) == 2)
        #expect(
            file.state.withLock { $0.ledger.rewriteCount == 0 && $0.ledger.userWrites.isEmpty && $0.ledger.runningCount == 0 })
    }

    @Test("an overwrite that fails everywhere leaves the version before, if that is still whole")
    func failedOverwriteWithoutSpares() async throws {
        let (file, disk) = try CacheFileRecorder.make(spareCount: 0)
        try file.assign(0, 1)
        try await file.put(1, 0..<4, 1, 0)
        let bad = Int(file.layout.dataOffset(2))
        disk.state.withLock { $0.badBytes = bad..<bad + 1 }
        await #expect(throws: BlockStoreError.self) { try await file.put(2, 2..<4, 1, 0) }
        disk.state.withLock { $0.badBytes = 0..<0 }
        let bytes = try [0, 1, 3].map { try file.byte($0, 1, 0) }
        #expect(bytes == [1, 1, 1], "the last one was not reached")
        try await file.commit()
        let next = try CacheFileRecorder.start(on: disk.bytes)
        let dirty = try next.restore().blocks.first?.dirty[0] ?? 0
        #expect(dirty & 0b1011 == 0b1011)
    }
}
