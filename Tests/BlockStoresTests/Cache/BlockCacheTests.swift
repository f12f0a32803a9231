// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import StoreTesting
import Synchronization
import Testing

@testable import BlockStores

@Suite("The block cache") struct BlockCacheTests {
    private static let size = CacheFixture.blockSize

    @Test("the cache keeps the contracts of stores, of partial ones, and below a disk", arguments: [1, 3, 64])
    func contracts(slots: Int) throws {
        for rule in BlockStoreContract.cases {
            try CacheFixture.run(.test(slots: slots)) { try await rule.run($0.cache) }
        }
        for rule in PartialBlockStoreContract.cases {
            try CacheFixture.run(.test(slots: slots)) { try await rule.run($0.cache) }
        }
        for rule in DiskContract.cases {
            try CacheFixture.run(.test(slots: slots)) {
                try await rule.run(BlockDisk(over: $0.cache, fanOutMax: 4, isReadOnly: false))
            }
        }
    }

    @Test("writes of whole sectors into a block that is not held ask for nothing until it is written back, and then once")
    func partialWrites() throws {
        try CacheFixture.run(.test(slots: 8)) { fixture in
            try await fixture.store(7, in: 5)
            for sector in 0..<3 { try await fixture.write(UInt8(sector + 1), at: sector * 32..<sector * 32 + 32, of: 5) }
            #expect(fixture.memory.counts.reads == 0)
            #expect(try await fixture.read(32..<64, of: 5) == [UInt8](repeating: 2, count: 32))
            #expect(fixture.memory.counts.reads == 0)
            try await fixture.cache.flush(.everything)
            #expect(fixture.memory.counts.reads == 1 && fixture.memory.counts.writes == 2)
            let expected = [1, 2, 3, 7].flatMap { [UInt8](repeating: $0, count: 32) }
            #expect(fixture.stored(5) == expected)
            #expect(try await fixture.read(of: 5) == expected && fixture.memory.counts.reads == 1)
        }
    }

    @Test("a block that is written throughout, or known to be zeros, is never fetched")
    func neverFetched() throws {
        try CacheFixture.run(.test(slots: 64), blockCount: 64) { fixture in
            // Every block is asked for once, and found to be zeros.
            for block in 0..<32 { _ = try await fixture.read(of: block) }
            let reads = fixture.memory.counts.reads
            for block in 0..<32 {
                for sector in stride(from: block % 4, to: 4, by: 2) {
                    try await fixture.write(9, at: sector * 32 + 5..<sector * 32 + 20, of: block)
                }
            }
            for block in 32..<64 {
                for sector in 0..<4 { try await fixture.write(8, at: sector * 32..<sector * 32 + 32, of: block) }
            }
            try await fixture.cache.flush(.everything)
            #expect(fixture.memory.counts.reads == reads)
            #expect(
                fixture.stored(2) == [UInt8](repeating: 0, count: 69) + [UInt8](repeating: 9, count: 15)
                    + [UInt8](repeating: 0, count: 44))
        }
    }

    @Test("known zeros take no slot, and neither a scan of zeros nor a trim of everything else puts out what is held")
    func zerosTakeNoSlot() throws {
        try CacheFixture.run(.test(slots: 4), blockCount: 4096) { fixture in
            for block in 0..<4 { try await fixture.store(UInt8(block + 1), in: block) }
            for block in 0..<4 { _ = try await fixture.read(of: block) }
            for block in 4..<200 { _ = try await fixture.read(of: block) }
            try await fixture.cache.zero(BlockSet(BlockNumber(4)..<BlockNumber(4096)), .foreground)
            try await fixture.cache.flush(.everything)
            #expect(fixture.cache.statistics.currentSize == 4)
            let reads = fixture.memory.counts.reads
            for block in 0..<4 { #expect(try await fixture.read(of: block).first == UInt8(block + 1)) }
            #expect(fixture.memory.counts.reads == reads)
        }
    }

    @Test("many reads of one block that is not held are one request")
    func joinedReads() throws {
        try CacheFixture.run(.test(slots: 4)) { fixture in
            try await fixture.store(3, in: 9)
            try await withThrowingTaskGroup(of: Void.self) { readers in
                for reader in 0..<20 {
                    readers.addTask {
                        let bytes = try await fixture.read(reader..<reader + 50, of: 9)
                        #expect(bytes.allSatisfy { $0 == 3 })
                    }
                }
                try await readers.waitForAll()
            }
            #expect(fixture.memory.counts.reads == 1)
            #expect(fixture.cache.statistics.readMisses + fixture.cache.statistics.readHits >= 20)
        }
    }

    @Test("writes to a block within the write delay are one upload, and the delay begins with the first")
    func coalescing() throws {
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .milliseconds(250) }) { fixture in
            for value in 1...100 {
                try await fixture.write(UInt8(value), of: 1)
                try await fixture.pass(.milliseconds(2))
            }
            #expect(fixture.memory.counts.writes == 0)
            try await fixture.pass(.milliseconds(100))
            #expect(fixture.memory.counts.writes == 1 && fixture.stored(1) == [UInt8](repeating: 100, count: Self.size))
        }
    }

    @Test("a block that is written again while its upload runs is uploaded again afterwards, never twice at once")
    func rewriting() throws {
        let gate = BlockGate { $0.verb == .write && $0.phase == .arrived }
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .zero }, hook: gate.pass) { fixture in
            try await fixture.write(1, of: 0)
            await gate.waitUntilHeld(1)
            for value in 2...20 {
                try await fixture.write(UInt8(value), of: 0)
                try await fixture.pass(.milliseconds(50))
            }
            #expect(gate.held.count == 1)
            #expect(try await fixture.read(of: 0).first == 20)
            gate.release()
            await gate.waitUntilHeld(1)
            #expect(fixture.stored(0).first == 1)
            gate.open()
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(0).first == 20 && fixture.memory.counts.writes == 2)
        }
    }

    @Test("a flush waits for a block whose upload runs already, and for nothing that came after it began")
    func flushWaits() throws {
        let gate = BlockGate { $0.verb == .write && $0.phase == .done }
        let order = Shared<[String]>([])
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .zero }, hook: gate.pass) { fixture in
            try await fixture.write(1, of: 0)
            await gate.waitUntilHeld(1)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask {
                    try await fixture.cache.flush(.everything)
                    order.withLock { $0.append("flushed") }
                }
                try await fixture.pass(.seconds(5))
                // Behind the flush: held at the gate, and not waited for.
                try await fixture.write(2, of: 1)
                try await fixture.pass(.seconds(5))
                order.withLock { $0.append("answered") }
                gate.release { $0.blocks.contains(BlockNumber(0)) }
                try await tasks.waitForAll()
            }
            #expect(order.withLock { $0 } == ["answered", "flushed"])
            #expect(gate.held.count == 1)
            gate.open()
        }
    }

    @Test("a trim during an upload is sent when the upload's outcome is known, and wins", arguments: [true, false])
    func trimDuringUpload(succeeds: Bool) throws {
        let gate = BlockGate { $0.verb == .write && $0.phase == .done }
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .zero }, hook: gate.pass) { fixture in
            try await fixture.write(1, of: 3)
            await gate.waitUntilHeld(1)
            try await fixture.cache.zero(BlockSet(blocks: [BlockNumber(3)]), .foreground)
            #expect(try await fixture.read(of: 3).allSatisfy { $0 == 0 })
            try await fixture.pass(.seconds(10))
            #expect(fixture.memory.counts.zeros == 0)
            gate.release(failing: succeeds ? nil : BlockStoreError(.timedOut, "planned"))
            gate.open()
            try await fixture.cache.flush(.everything)
            #expect(fixture.memory.counts.zeros == 1 && fixture.stored(3).allSatisfy { $0 == 0 })
        }
    }

    @Test("while the store takes nothing writers wait, readers of held blocks do not, and afterwards all drains by itself")
    func outage() throws {
        let isDown = Shared(true)
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            guard call.verb == .write, isDown.withLock({ $0 }) else { return }
            throw BlockStoreError(.unreachable, "planned outage")
        }
        try CacheFixture.run(.test(slots: 8), hook: hook) { fixture in
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                let acknowledged = Shared(0)
                for block in 0..<40 {
                    tasks.addTask {
                        try await fixture.write(UInt8(block + 1), of: block)
                        acknowledged.withLock { $0 += 1 }
                    }
                }
                try await fixture.pass(.seconds(300))
                #expect(acknowledged.withLock { $0 } == 8 && fixture.cache.statistics.dirtyCount == 8)
                let held = (0..<40).filter { fixture.cache.readNow(0..<8, of: BlockNumber($0)) != nil }
                #expect(held.count == 8)
                isDown.withLock { $0 = false }
                try await tasks.waitForAll()
                try await fixture.pass(.seconds(60))
            }
            #expect(fixture.cache.unsavedCount == 0)
            for block in 0..<40 { #expect(fixture.stored(block).first == UInt8(block + 1)) }
            let failures = fixture.log.lines.filter { $0.contains("trying again") }
            #expect((1...6).contains(failures.count), "\\(failures)")
            #expect(fixture.log.lines.contains { $0.contains("takes blocks again") })
        }
    }

    @Test("of the writers that wait as many are let in as there is room for, so that none waits twice")
    func admission() throws {
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .zero }) { fixture in
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for block in 0..<40 { tasks.addTask { try await fixture.write(UInt8(block + 1), of: block) } }
                try await tasks.waitForAll()
            }
            try await fixture.cache.flush(.everything)
            for block in 0..<40 { #expect(fixture.stored(block).first == UInt8(block + 1)) }
            #expect(fixture.cache.statistics.writerWaits <= 40)
            #expect(fixture.cache.state.withLock { $0.admittedCount } == 0)
        }
    }

    @Test("a flush fails for a refusal and for its timeout, keeps everything, and the next one tries again")
    func failingFlush() throws {
        let failure = Shared<BlockStoreError?>(BlockStoreError(.forbidden, "planned refusal"))
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            if call.verb == .write, let error = failure.withLock({ $0 }) { throw error }
        }
        try CacheFixture.run(.test(slots: 8) { $0.flushTimeout = .seconds(30) }, hook: hook) { fixture in
            try await fixture.write(1, of: 0)
            let refused = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            #expect(refused?.code == .forbidden)
            failure.withLock { $0 = BlockStoreError(.unreachable, "planned outage") }
            let began = fixture.timeline.now
            let late = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            #expect(late?.code == .timedOut && fixture.timeline.now - began >= .seconds(30))
            #expect(try await fixture.read(of: 0).first == 1)
            failure.withLock { $0 = nil }
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(0).first == 1)
        }
    }

    @Test("a flush waits for a store that cannot confirm for now, as long as it may")
    func flushBelowFails() throws {
        let isDown = Shared(true)
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            if call.verb == .flush, isDown.withLock({ $0 }) { throw BlockStoreError(.unreachable, "planned outage") }
        }
        try CacheFixture.run(.test(slots: 8), hook: hook) { fixture in
            try await fixture.write(1, of: 0)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await fixture.cache.flush(.everything) }
                try await fixture.pass(.seconds(100))
                isDown.withLock { $0 = false }
                try await tasks.waitForAll()
            }
            #expect(fixture.timeline.now >= .seconds(100) && fixture.stored(0).first == 1)
            let lines = fixture.log.lines.filter { $0.contains("cannot confirm what was written") }
            #expect((1...3).contains(lines.count), "\(lines)")
            #expect(fixture.log.lines.contains { $0.contains("takes blocks again") })
        }
        try CacheFixture.run(.test(slots: 8) { $0.flushTimeout = .seconds(20) }, hook: hook) { fixture in
            isDown.withLock { $0 = true }
            let late = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            #expect(late?.code == .timedOut && fixture.timeline.now >= .seconds(20))
        }
    }

    @Test("a store that leaves a confirmation without an answer holds up a flush no longer than it may wait")
    func flushBelowHangs() throws {
        let isDown = Shared(true)
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            guard call.verb == .flush, isDown.withLock({ $0 }) else { return }
            // Nobody rings: it ends when the task is cancelled.
            await Doorbell().wait()
            throw BlockStoreError(.cancelled, "planned end of a request without an answer")
        }
        try CacheFixture.run(.test(slots: 8) { $0.flushTimeout = .seconds(20) }, hook: hook) { fixture in
            let code = Shared<BlockStoreError.Code?>(nil)
            try await fixture.write(1, of: 0)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask {
                    let late = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
                    code.withLock { $0 = late?.code }
                }
                try await fixture.pass(.seconds(19))
                #expect(code.withLock { $0 } == nil)
                try await fixture.pass(.seconds(2))
                #expect(code.withLock { $0 } == .timedOut)
                tasks.addTask {
                    let cancelled = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
                    code.withLock { $0 = cancelled?.code }
                }
                try await fixture.pass(.seconds(1))
                tasks.cancelAll()
                while await tasks.nextResult() != nil {}
                #expect(code.withLock { $0 } == .cancelled)
            }
            isDown.withLock { $0 = false }
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(0).first == 1)
        }
    }

    @Test("a flush of some blocks sends these before their time, and no others")
    func flushOfBlocks() throws {
        try CacheFixture.run(.test(slots: 8) { $0.writeDelay = .seconds(100) }) { fixture in
            for block in 0..<4 { try await fixture.write(1, of: block) }
            try await fixture.cache.flush(.blocks(BlockSet(blocks: [BlockNumber(2)])))
            #expect(fixture.memory.counts.writes == 1 && fixture.stored(2).first == 1)
            #expect(fixture.memory.counts.flushes.last??.blocks.map(\.rawValue) == [2])
        }
    }

    @Test("with synchronous writes a write returns when its block is in the store")
    func synchronous() throws {
        try CacheFixture.run(.test(slots: 8) { $0.isSynchronous = true }) { fixture in
            try await fixture.write(4, of: 2)
            #expect(fixture.stored(2).first == 4)
            try await fixture.cache.zero(BlockSet(blocks: [BlockNumber(2)]), .foreground)
            #expect(fixture.stored(2).first == 0)
        }
    }

    @Test("a reader in order finds the blocks ahead fetched, and at most as many as it was told")
    func readAhead() throws {
        try CacheFixture.run(.test(slots: 40) { $0.readAheadMax = 8 }) { fixture in
            for block in 0..<64 { try await fixture.store(UInt8(block + 1), in: block) }
            for block in 0..<64 {
                #expect(try await fixture.read(of: block).first == UInt8(block + 1))
                try await fixture.pass(.milliseconds(1))
                #expect(fixture.memory.counts.reads <= block + 10)
            }
            #expect(fixture.cache.statistics.readMisses <= 4 && fixture.memory.counts.reads == 64)
        }
    }

    @Test("protected blocks are put out last, and what was not used for long is put out by itself")
    func eviction() throws {
        let settings = CacheSettings.test(slots: 4) {
            $0.protectedCount = 2
            $0.keptFor = .seconds(10)
        }
        try CacheFixture.run(settings) { fixture in
            for block in 0..<10 { try await fixture.store(1, in: block) }
            for block in 0..<10 { _ = try await fixture.read(of: block) }
            #expect(
                fixture.cache.readNow(0..<1, of: BlockNumber(0)) != nil && fixture.cache.readNow(0..<1, of: BlockNumber(1)) != nil
            )
            #expect(fixture.cache.readNow(0..<1, of: BlockNumber(2)) == nil && fixture.cache.statistics.currentSize == 4)
            try await fixture.pass(.seconds(11))
            try await fixture.pass(.seconds(11))
            #expect(fixture.cache.statistics.currentSize == 0)
        }
    }

    @Test("a reader that gives up does not take the fetch with it")
    func cancelledReader() throws {
        let gate = BlockGate { $0.verb == .read && $0.phase == .done }
        try CacheFixture.run(.test(slots: 4), hook: gate.pass) { fixture in
            try await fixture.store(6, in: 1)
            let gaveUp = await withTaskGroup(of: Bool.self) { readers in
                readers.addTask {
                    do { _ = try await fixture.read(of: 1) } catch { return (error as? BlockStoreError)?.code == .cancelled }
                    return false
                }
                await gate.waitUntilHeld(1)
                readers.cancelAll()
                return await readers.next() ?? false
            }
            #expect(gaveUp)
            gate.open()
            #expect(try await fixture.read(of: 1).first == 6 && fixture.memory.counts.reads == 1)
        }
    }
}
