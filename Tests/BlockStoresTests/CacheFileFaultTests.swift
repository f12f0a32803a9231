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
}
