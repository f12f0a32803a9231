// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import BlockStores

@Suite("The block cache over damaged sectors") struct BlockCacheDamageTests {
    /// A storage in which sector 2 of every block fails its check, until it is written if `heals`.
    private static func storage(_ isBad: Shared<Bool>, heals: Bool) throws -> FaultyCacheStorage {
        let storage = try FaultyCacheStorage(slotCount: 4)
        storage.fail { call in
            guard let range = call.range, range.overlaps(64..<96) else { return nil }
            return isBad.withLock { isBad in
                if call.verb == .write, heals { isBad = false }
                return isBad && call.verb == .read ? BlockStoreError(.corrupt, "planned damage") : nil
            }
        }
        return storage
    }

    @Test(
        "a damaged sector that the store has is fetched again, and no flush, read or unaligned write hears of it",
        arguments: [false, true], 0..<3)
    func mended(wasZeroed: Bool, use: Int) throws {
        let isBad = Shared(false)
        let storage = try Self.storage(isBad, heals: true)
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .seconds(100) }, storage: storage) { fixture in
            if wasZeroed { try await fixture.cache.zero(BlockSet(blocks: [BlockNumber(1)]), .foreground) }
            try await fixture.write(9, at: 64..<96, of: 1)
            try await fixture.cache.flush(.everything)
            try await fixture.write(5, at: 0..<32, of: 1)
            let reads = fixture.memory.counts.reads
            isBad.withLock { $0 = true }
            switch use {
            case 0: break
            case 1: #expect(try await fixture.read(of: 1)[64] == 9)
            default: try await fixture.write(7, at: 70..<71, of: 1)
            }
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1)[0] == 5 && fixture.stored(1)[64] == 9 && fixture.stored(1)[70] == (use == 2 ? 7 : 9))
            #expect(fixture.stored(1)[32] == 0 && fixture.stored(1)[127] == 0)
            #expect(fixture.memory.counts.reads == reads + 1 && fixture.cache.unsavedCount == 0)
            #expect(fixture.log.lines.contains { $0.contains("is damaged and is read from the store again") })
            #expect(!fixture.log.lines.contains { $0.hasPrefix("error") }, "\(fixture.log.lines)")
        }
    }

    @Test("a damaged sector that nobody else has fails flushes and reads, and is not asked for again and again")
    func lost() throws {
        let isBad = Shared(true)
        let storage = try Self.storage(isBad, heals: false)
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.store(9, in: 1)
            try await fixture.write(5, at: 64..<96, of: 1)
            let flushing = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            let reading = await #expect(throws: BlockStoreError.self) { _ = try await fixture.read(of: 1) }
            #expect(flushing?.code == .corrupt && reading?.code == .corrupt && fixture.memory.counts.reads == 1)
            isBad.withLock { $0 = false }
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1)[64] == 5 && fixture.stored(1)[0] == 9)
        }
    }

    @Test("a disk that damages what is fetched again is believed once: then reads and flushes fail")
    func damagedAgain() throws {
        let isBad = Shared(false)
        let storage = try Self.storage(isBad, heals: false)
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .seconds(100) }, storage: storage) { fixture in
            try await fixture.store(9, in: 1)
            _ = try await fixture.read(of: 1)
            try await fixture.write(5, at: 0..<32, of: 1)
            isBad.withLock { $0 = true }
            let reading = await #expect(throws: BlockStoreError.self) { _ = try await fixture.read(of: 1) }
            #expect(reading?.code == .corrupt && fixture.memory.counts.reads == 2)
            let flushing = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            #expect(flushing?.code == .corrupt && fixture.memory.counts.reads == 3)
        }
    }

    @Test("a read whose request fails is answered with what was written meanwhile")
    func writtenMeanwhile() throws {
        let gate = BlockGate { $0.verb == .read && $0.phase == .arrived }
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .seconds(100) }, hook: gate.pass) { fixture in
            try await withThrowingTaskGroup(of: UInt8?.self) { tasks in
                tasks.addTask { try await fixture.read(of: 1).first }
                await gate.waitUntilHeld(1)
                try await fixture.write(4, of: 1)
                gate.release(failing: BlockStoreError(.unreachable, "planned outage"))
                #expect(try await tasks.next() == 4)
            }
            gate.open()
        }
    }

    @Test("what an earlier run left beyond the end of a smaller volume is dropped if the store has it, and refused if not")
    func smallerVolume() throws {
        func left(_ block: Int, slot: UInt32, isDirty: Bool) -> RestoredBlock {
            RestoredBlock(
                block: BlockNumber(block), slot: CacheSlot(rawValue: slot), valid: [0b1111], dirty: [isDirty ? 0b1 : 0],
                isZeroElsewhere: false)
        }
        let storage = try FaultyCacheStorage(slotCount: 4)
        storage.leave(
            [left(3, slot: 0, isDirty: false), left(64, slot: 2, isDirty: false)], zeros: BlockSet(blocks: [BlockNumber(64)]))
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            #expect(fixture.cache.statistics.currentSize == 1 && fixture.cache.unsavedCount == 0 && storage.zeros.isEmpty)
            #expect(storage.calls.filter { $0.verb == .release }.map(\.slot) == [CacheSlot(rawValue: 2)])
        }
        let unsaved = try FaultyCacheStorage(slotCount: 4)
        unsaved.leave([left(64, slot: 0, isDirty: true)], zeros: BlockSet(blocks: [BlockNumber(1), BlockNumber(70)]))
        let failure = #expect(throws: BlockStoreError.self) { try CacheFixture.run(.test(slots: 4), storage: unsaved) { _ in } }
        #expect(failure?.message.contains("holds 2 blocks beyond the end") == true && unsaved.calls.isEmpty)
    }
}
