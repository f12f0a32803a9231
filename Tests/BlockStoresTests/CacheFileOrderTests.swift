// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Synchronization
import Testing

@testable import BlockStores

/// Orders of events that a crash must not be able to turn round, played one by one.
@Suite("The cache file and the order of things") struct CacheFileOrderTests {
    @Test("a slot that is taken from its block without a release brings no old version back")
    func evictionOfAShadowedSlot() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        // The first sector of the block's first version lies in a spare.
        try file.assign(0, 1)
        for byte in [UInt8(1), 2] {
            try await file.put(byte, 0..<1, 1, 0)
            try await file.commit()
        }
        try file.noteStored(1, 0, "first")
        try await file.commit()
        // The store has another version by now, which is read over it; nobody commits.
        try await file.put(3, 0..<4, 1, 0, .store)
        try file.noteStored(1, 0, "second")
        disk.state.withLock { $0.events.append(contentsOf: [.syncBegan(1000), .syncEnded(1000)]) }
        try file.assign(0, 2)
        try await file.put(4, 0..<4, 2, 0, .store)
        let descriptors = file.layout.descriptorsOffset..<file.layout.recordsOffset
        let next = try CacheFileRecorder.start(on: disk.image(losing: [descriptors]))
        let blocks = try next.restore().blocks
        for block in blocks where block.block == BlockNumber(1) {
            #expect(next.version(of: block.block, in: block.slot) == .tag("second"))
            #expect(block.valid[0] & 1 == 0 || (try? next.byte(0, 1, 0)) != 2, "a mix of two versions")
        }
    }

    @Test("what is read takes no memory beyond its slot, however long nothing is committed")
    func readingWithoutCommit() async throws {
        let (file, _) = try CacheFileRecorder.make(slotCount: 8)
        for block in 0..<10_000 {
            try file.assign(block % 8, block)
            try await file.put(UInt8(block % 251), 0..<1, block, block % 8, .store)
            try file.noteStored(block, block % 8, "v")
        }
        try file.assign(0, 1)
        try await file.put(1, 0..<1, 1, 0)
        for _ in 0..<100 { try file.noteStored(1, 0, "v") }
        #expect(file.state.withLock { $0.ledger.cleaning.count } <= 8)
        try await file.commit()
        #expect(file.state.withLock { $0.ledger.cleaning.isEmpty && !$0.ledger.protected[0] })
    }

    @Test("a mark does not cover a zeroing behind which the user has written nothing", arguments: [false, true])
    func fetchedAcrossAZeroing(isDuring: Bool) async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<4, 1, 0, .store)
        if isDuring {
            // The zeroing has its number, and is not in the log yet.
            file.state.withLock { state in
                state.ledger.zeroing = (state.ledger.nextSequence(), BlockSet(blocks: [BlockNumber(1)]))
            }
            try file.noteStored(1, 0, "old")
            file.state.withLock { $0.ledger.zeroing = nil }
            let sequence = file.state.withLock { $0.ledger.sequence }
            #expect(file.state.withLock { $0.ledger.marks[0] } < sequence)
        } else {
            try file.zero(1)
            try file.noteStored(1, 0, "old")
        }
        try await file.commit()
        if !isDuring {
            let (blocks, zeros) = try CacheFileRecorder.start(on: disk.bytes).restore()
            #expect(Array(zeros.blocks) == [BlockNumber(1)] && blocks.isEmpty)
        }
        #expect(file.version(of: BlockNumber(1), in: CacheSlot(0)) == .unknown, "nothing counts as the version any more")
        // What the user writes afterwards is covered as ever.
        try await file.put(2, 0..<4, 1, 0)
        try file.noteStored(1, 0, "new")
        #expect(try CacheFileRecorder.start(on: disk.bytes).restore().zeros.isEmpty)
    }

    @Test("a slot that a zeroing took away does not win over a later one, though its release is not recorded yet")
    func releaseAfterTheNextSlot() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<2, 1, 0)
        try file.zero(1)
        // The rest of a long write, which holds the release up.
        try await file.put(1, 2..<4, 1, 0)
        try file.assign(1, 1)
        try await file.put(2, 0..<1, 1, 1)
        try await file.commit()
        let next = CacheFileRecorder(disk.bytes)
        for _ in 0..<2 {
            let started = try CacheFileRecorder.start(on: next.bytes)
            let (blocks, zeros) = try started.restore()
            #expect(blocks.map(\.slot) == [CacheSlot(1)] && blocks.first?.dirty == [1])
            #expect(Array(zeros.blocks) == [BlockNumber(1)])
            #expect(try started.byte(0, 1, 1) == 2)
        }
    }

    @Test("a block that was zeroed is zeros or what was committed before, whichever of the two records a crash loses")
    func releaseWithoutTheLog() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(0, 1)
        try await file.put(1, 0..<4, 1, 0)
        try await file.commit()
        try file.zero(1)
        try file.release(CacheSlot(0), of: BlockNumber(1), wasDirty: true)
        let log = file.layout.zeroLogOffset(0)..<file.layout.zeroLogOffset(2)
        let descriptors = file.layout.descriptorsOffset..<file.layout.recordsOffset
        for lost in [[log], [descriptors], [log, descriptors], []] {
            let (blocks, zeros) = try CacheFileRecorder.start(on: disk.image(losing: lost)).restore()
            let isHeld = lost.count == 2
            #expect(blocks.map(\.dirty) == (isHeld ? [[0b1111]] : []) && zeros.isEmpty == isHeld, "losing \(lost)")
        }
    }

    @Test(
        "a zeroing that only the mark says to be over does not come back when the slot is taken away",
        arguments: [false, true], [false, true])
    func evictionBeforeForgetting(isReleased: Bool, wasDirty: Bool) async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.zero(1)
        try file.assign(0, 1)
        try await file.put(1, 0..<4, 1, 0)
        try await file.commit()
        // Written to the store, and nobody forgets the zeros.
        try file.noteStored(1, 0, "v")
        try await file.commit()
        #expect(try CacheFileRecorder.start(on: disk.bytes).restore().zeros.isEmpty)
        if isReleased { try file.release(CacheSlot(0), of: BlockNumber(1), wasDirty: wasDirty) }
        try file.assign(0, 2)
        // Nothing of the log that is not durable arrives.
        let log = file.layout.zeroLogOffset(0)..<file.layout.zeroLogOffset(1)
        for bytes in [disk.bytes, disk.image(losing: [log])] {
            #expect(try CacheFileRecorder.start(on: bytes).restore().zeros.isEmpty)
        }
    }

    @Test("a slot keeps its block when the log cannot say what its mark says")
    func evictionWithABadLog() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.zero(1)
        try file.zero(7)
        try file.assign(0, 1)
        try await file.put(1, 0..<4, 1, 0)
        try file.noteStored(1, 0, "v")
        try await file.commit()
        let logs = Int(file.layout.zeroLogOffset(0))..<Int(file.layout.dataOffset)
        disk.state.withLock { $0.badBytes = logs }
        #expect(storageCode { try file.assign(0, 2) } == .io)
        #expect(try CacheFileRecorder.start(on: disk.bytes).restore().zeros.blocks.map(\.rawValue) == [7])
    }

    @Test("a log that was being written anew at a crash brings no zeroing back, whatever of it has arrived")
    func crashBeforeTheHeader() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        for _ in 0..<14 { try file.zero(2) }
        try await file.commit()
        // Zeroings that the crash undoes; the log has no entry left, and is written anew.
        for block in [10, 20] { try file.zero(block) }
        let second = CacheFileRecorder(disk.image(losing: [file.layout.zeroLogOffset(0)..<file.layout.zeroLogOffset(1)]))
        try file.zero(2)
        // Of the new log all has arrived, and of the header that names it nothing.
        var log = [UInt8](repeating: 0, count: 4096)
        try log.withUnsafeMutableBytes { try disk.read(into: $0, at: file.layout.zeroLogOffset(1)) }
        try log.withUnsafeBytes { try second.write($0, at: file.layout.zeroLogOffset(1)) }
        let started = try CacheFileWorld.open(second, CacheFileWorld.Form(isEncrypted: false))
        #expect(try started.restore().zeros.blocks.map(\.rawValue) == [2])
        // The block is written to the store, and its slot is taken away.
        try started.assign(0, 10)
        try await started.put(1, 0..<4, 10, 0)
        try await started.commit()
        try started.noteStored(10, 0, "v")
        try await started.commit()
        try started.assign(0, 3)
        try await started.commit()
        let zeros = try CacheFileRecorder.start(on: second.bytes).restore().zeros
        #expect(zeros.blocks.map(\.rawValue) == [2], "what was written since would be deleted")
    }

    @Test("a slot of which only the mark is left goes after the zeroing of which that says that it is over")
    func crashOfTheNextStart() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.zero(1)
        try file.assign(0, 1)
        try await file.put(1, 0..<1, 1, 0)
        try await file.commit()
        // Written to the store; the zeros are not forgotten before the crash.
        try file.noteStored(1, 0, "v")
        try await file.commit()
        // All that the slot holds is overwritten in place, and torn.
        try await file.put(2, 0..<1, 1, 0)
        let next = CacheFileRecorder(disk.image(losing: [file.layout.dataOffset..<file.layout.size]))
        #expect(try CacheFileWorld.open(next, CacheFileWorld.Form(isEncrypted: false)).restore().zeros.isEmpty)
        // That start may crash as well.
        var generator = SeededGenerator(seed: 1)
        for moment in 0...next.now {
            for survival in [0.0, 1] {
                let bytes = next.image(at: moment, survival: survival, &generator)
                #expect(try CacheFileRecorder.start(on: bytes).restore().zeros.isEmpty, "after \(moment) events")
            }
        }
    }
}
