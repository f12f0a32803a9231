// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Synchronization
import Testing

@testable import BlockStores

@Suite("The end of a block cache") struct BlockCacheDrainTests {
    @Test("once the end has begun nothing is taken any more, also of writers that wait for room; reads and flushes go on")
    func refusals() throws {
        let isDown = Shared(true)
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            guard call.verb == .write, isDown.withLock({ $0 }) else { return }
            throw BlockStoreError(.unreachable, "planned outage")
        }
        try CacheFixture.run(.test(slots: 2), hook: hook) { fixture in
            for block in 0..<2 { try await fixture.write(1, of: block) }
            let codes = Shared<[BlockStoreError.Code?]>([])
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for block in 2..<6 {
                    tasks.addTask {
                        let failure = await #expect(throws: BlockStoreError.self) { try await fixture.write(1, of: block) }
                        codes.withLock { $0.append(failure?.code) }
                    }
                }
                try await fixture.pass(.seconds(10))
                #expect(codes.withLock { $0.isEmpty })
                tasks.addTask { try await fixture.cache.drain() }
                try await fixture.pass(.seconds(10))
                #expect(codes.withLock { $0 } == [.io, .io, .io, .io] && fixture.cache.unsavedCount == 2)
                isDown.withLock { $0 = false }
                try await tasks.waitForAll()
            }
            #expect(fixture.cache.unsavedCount == 0 && fixture.memory.counts.writes >= 2)
            let late = await #expect(throws: BlockStoreError.self) { try await fixture.write(2, of: 0) }
            let zeroing = await #expect(throws: BlockStoreError.self) {
                try await fixture.cache.zero(BlockSet(blocks: [BlockNumber(0)]), .foreground)
            }
            #expect(late?.code == .io && zeroing?.code == .io)
            let bytes = BufferSlice.filled(2, count: CacheFixture.blockSize)
            #expect(!fixture.cache.writeNow(bytes.unsafeBytes, at: 0..<CacheFixture.blockSize, of: BlockNumber(1)))
            try await fixture.cache.flush(.everything)
            #expect(fixture.cache.unsavedCount == 0 && fixture.stored(0).first == 1)
            #expect(try await fixture.read(of: 1).first == 1)
            #expect(fixture.cache.state.withLock { $0.writers.isEmpty && $0.admittedCount == 0 })
        }
    }

    @Test("a write that is being copied when the end begins is in the store when it is over")
    func lastCopy() throws {
        let gate = Gate()
        let storage = try FaultyCacheStorage(slotCount: 4, gate: { _ in await gate.pass() })
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            let isDrained = Shared(false)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await fixture.write(5, of: 1) }
                try await fixture.pass(.seconds(1))
                tasks.addTask {
                    try await fixture.cache.drain()
                    isDrained.withLock { $0 = true }
                    #expect(fixture.cache.unsavedCount == 0 && fixture.stored(1).first == 5)
                }
                try await fixture.pass(.seconds(1))
                #expect(!isDrained.withLock { $0 })
                gate.open()
                try await tasks.waitForAll()
            }
        }
    }

    @Test("an end that does not wait any more for the last copy says so, and may be begun again")
    func cancelledDrain() throws {
        let gate = Gate()
        let storage = try FaultyCacheStorage(slotCount: 4, gate: { _ in await gate.pass() })
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await fixture.write(5, of: 1) }
                try await fixture.pass(.seconds(1))
                let code = await withTaskGroup(of: BlockStoreError.Code?.self) { ends in
                    ends.addTask {
                        do throws(BlockStoreError) {
                            try await fixture.cache.drain()
                            return nil
                        } catch {
                            return error.code
                        }
                    }
                    ends.cancelAll()
                    return await ends.next() ?? nil
                }
                #expect(code == .cancelled)
                gate.open()
                try await tasks.waitForAll()
                try await fixture.cache.drain()
                #expect(fixture.cache.unsavedCount == 0 && fixture.stored(1).first == 5)
            }
        }
    }
}
