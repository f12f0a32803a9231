// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Synchronization
import Testing

@testable import BlockStores

@Suite("The block cache over a storage that outlives the process") struct BlockCacheStorageTests {
    private static let size = CacheFixture.blockSize
    private static let one = BlockSet(blocks: [BlockNumber(1)])
    private static let io = BlockStoreError(.io, "planned failure of the disk")

    @Test("a block stays unsaved until the storage has forgotten that it was zeroed", arguments: [false, true])
    func forgottenLate(isVersion: Bool) throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.store(9, in: 1)
            try await fixture.cache.zero(Self.one, .foreground)
            try await fixture.write(5, of: 1)
            storage.fail { call in call.verb == (isVersion ? .setVersion : .forgetZeros) ? Self.io : nil }
            let refused = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            #expect(refused?.code == .io, "a local disk that fails is not waited for")
            #expect(fixture.stored(1).first == 5 && fixture.cache.unsavedCount == 1 && storage.zeros == Self.one)
            storage.fail(nil)
            try await fixture.cache.flush(.everything)
            #expect(fixture.cache.unsavedCount == 0 && storage.zeros.isEmpty && fixture.memory.counts.writes >= 3)
        }
    }

    @Test(
        "what the storage may not forget yet, because the block is being zeroed just now, is forgotten later",
        arguments: [false, true])
    func forgottenAfterIntent(isZeroed: Bool) throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.store(9, in: 1)
            try await fixture.cache.zero(Self.one, .foreground)
            if !isZeroed { try await fixture.write(5, of: 1) }
            // As while recordZeros(_:) of another zeroing runs, which then fails.
            fixture.cache.state.withLock { $0.zeroIntents[.max] = ZeroIntent(blocks: Self.one, mark: CacheMark(rawValue: 0)) }
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await fixture.cache.flush(.everything) }
                try await fixture.pass(.seconds(5))
                #expect(fixture.stored(1).first == (isZeroed ? 0 : 5))
                #expect(fixture.cache.unsavedCount == 1 && storage.zeros == Self.one)
                fixture.cache.state.withLock { $0.zeroIntents[.max] = nil }
                try await tasks.waitForAll()
            }
            #expect(fixture.cache.unsavedCount == 0 && storage.zeros.isEmpty)
            #expect(!fixture.log.lines.contains { $0.hasPrefix("error") }, "\(fixture.log.lines)")
        }
    }

    @Test("a zeroing, and a write after it, wait until the slot to which an older write still copies is released")
    func oneSlotOfABlock() throws {
        let gate = Gate()
        let storage = try FaultyCacheStorage(slotCount: 4, gate: { _ in await gate.pass() })
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .zero }, storage: storage) { fixture in
            let acknowledged = Shared<[String]>([])
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await fixture.write(1, of: 1) }
                try await fixture.pass(.seconds(1))
                tasks.addTask {
                    try await fixture.cache.zero(Self.one, .foreground)
                    acknowledged.withLock { $0.append("zero") }
                }
                try await fixture.pass(.seconds(1))
                #expect(try await fixture.read(of: 1).allSatisfy { $0 == 0 })
                tasks.addTask { try await fixture.write(3, at: 32..<64, of: 1) }
                try await fixture.pass(.seconds(5))
                #expect(storage.calls.count { $0.verb == .assign } == 1 && acknowledged.withLock { $0.isEmpty })
                #expect(fixture.memory.counts.zeros == 0, "nor is the block zeroed in the store")
                gate.open()
                try await tasks.waitForAll()
            }
            #expect(acknowledged.withLock { $0 } == ["zero"])
            let uses = storage.calls.filter { $0.verb == .assign || $0.verb == .release }.map(\.verb)
            #expect(uses == [.assign, .release, .assign])
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1)[31] == 0 && fixture.stored(1)[32] == 3 && fixture.stored(1)[64] == 0)
        }
    }

    @Test("a caller that gives up waiting for a release takes neither the zeroing nor the release with it")
    func cancelledZeroing() throws {
        let gate = Gate()
        let storage = try FaultyCacheStorage(slotCount: 4, gate: { _ in await gate.pass() })
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.store(9, in: 1)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await fixture.write(1, of: 1) }
                try await fixture.pass(.seconds(1))
                let code = await withTaskGroup(of: BlockStoreError.Code?.self) { zeroing in
                    zeroing.addTask {
                        do throws(BlockStoreError) {
                            try await fixture.cache.zero(Self.one, .foreground)
                            return nil
                        } catch { return error.code }
                    }
                    while fixture.cache.state.withLock({ $0.successors.isEmpty }) { await Task.yield() }
                    zeroing.cancelAll()
                    return await zeroing.next() ?? nil
                }
                #expect(code == .cancelled)
                gate.open()
                try await tasks.waitForAll()
            }
            #expect(try await fixture.read(of: 1).allSatisfy { $0 == 0 })
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1).allSatisfy { $0 == 0 } && fixture.cache.unsavedCount == 0)
        }
    }

    @Test("a release that cannot be recorded is recorded later; meanwhile slot and block stay out of use, and callers hear of it")
    func failedRelease() throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.store(9, in: 1)
            try await fixture.write(1, of: 1)
            storage.fail { $0.verb == .release ? Self.io : nil }
            for _ in 0..<2 {
                let zeroing = await #expect(throws: BlockStoreError.self) { try await fixture.cache.zero(Self.one, .foreground) }
                let writing = await #expect(throws: BlockStoreError.self) { try await fixture.write(2, of: 1) }
                let flushing = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
                #expect(zeroing?.code == .io && writing?.code == .io && flushing?.code == .io)
            }
            #expect(fixture.cache.state.withLock { $0.machine.freeSlots.isEmpty } && fixture.memory.counts.zeros == 0)
            storage.fail(nil)
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1).allSatisfy { $0 == 0 } && fixture.cache.unsavedCount == 0 && storage.zeros.isEmpty)
            try await fixture.write(2, of: 1)
        }
    }

    @Test("a writer that needs a commit for its room gets one when the commit that ran too early is over")
    func commitAfterACommit() throws {
        let storage = try FaultyCacheStorage(slotCount: 1)
        try CacheFixture.run(.test(slots: 1), storage: storage) { fixture in
            try await fixture.write(1, of: 1)
            // As for a local flush on a slow disk.
            let early = fixture.cache.state.withLock { $0.machine.beginCommit() }
            let isWritten = Shared(false)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask {
                    try await fixture.write(2, of: 2)
                    isWritten.withLock { $0 = true }
                }
                try await fixture.pass(.seconds(5))
                #expect(fixture.stored(1).first == 1 && !isWritten.withLock { $0 }, "the slot is clean, and not settled")
                try await fixture.cache.commitStorage(early)
                try await fixture.pass(.seconds(60))
                #expect(isWritten.withLock { $0 })
                fixture.cache.doorbell.ring()
                try await tasks.waitForAll()
            }
        }
    }

    /// A flush is a commit of the storage, and nothing goes to the store by itself.
    private static let flushedLocally = CacheSettings.test(slots: 4) {
        $0.flushMode = .local
        $0.writeDelay = .seconds(1000)
    }

    @Test("a local flush that finds the storage's trust gone when it commits goes to the store")
    func trustLostAtCommit() throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(Self.flushedLocally, storage: storage) { fixture in
            try await fixture.write(1, of: 1)
            try await fixture.cache.flush(.everything)
            #expect(fixture.memory.counts.writes == 0 && storage.calls.count { $0.verb == .commit } == 1)
            // Trusted when the flush looks first, and not any more when the commit begins.
            let looks = Shared(0)
            storage.trust {
                looks.withLock { looks in
                    looks += 1
                    return looks == 1
                }
            }
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1).first == 1)
        }
    }

    @Test("a flush at once is a commit of the storage; what it cannot promise is left to the flush that waits")
    func flushNow() throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(Self.flushedLocally, storage: storage) { fixture in
            try await fixture.write(1, of: 1)
            #expect(fixture.cache.flushNow() && storage.calls.count { $0.verb == .commit } == 1)
            #expect(fixture.cache.statistics.flushTimes.count == 1 && fixture.memory.counts.writes == 0)
            storage.fail { $0.verb == .commit ? BlockStoreError(.io, "planned failure") : nil }
            #expect(!fixture.cache.flushNow())
            storage.fail(nil)
            storage.trust { false }
            #expect(!fixture.cache.flushNow())
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1).first == 1, "without trust it is the store that counts")
        }
    }

    @Test("a flush to the store is never made at once")
    func flushNowRemotely() throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.write(1, of: 1)
            #expect(!fixture.cache.flushNow() && storage.calls.allSatisfy { $0.verb != .commit })
        }
        try CacheFixture.run(.test(slots: 4) { $0.flushMode = .local }) { fixture in
            #expect(!fixture.cache.flushNow(), "memory cannot promise anything")
        }
    }

    @Test("with local flushes, too, a volume that somebody else took takes no write, no zeroing and no flush any more")
    func fencedLocally() throws {
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            if call.verb == .write { throw BlockStoreError(.fenced, "planned loss of the volume") }
        }
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(.test(slots: 4) { $0.flushMode = .local }, storage: storage, hook: hook) { fixture in
            try await fixture.write(1, of: 1)
            try await fixture.cache.flush(.everything)
            try await fixture.pass(.seconds(2))
            let flushing = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            #expect(!fixture.cache.flushNow())
            let writing = await #expect(throws: BlockStoreError.self) { try await fixture.write(2, of: 1) }
            let zeroing = await #expect(throws: BlockStoreError.self) { try await fixture.cache.zero(Self.one, .foreground) }
            #expect(flushing?.code == .fenced && writing?.code == .fenced && zeroing?.code == .fenced)
            let isTaken = [UInt8](repeating: 3, count: 32).withUnsafeBytes {
                fixture.cache.writeNow($0, at: 0..<32, of: BlockNumber(1))
            }
            #expect(!isTaken)
            #expect(try await fixture.read(of: 1).first == 1, "reads go on")
        }
    }

    @Test("writers that wait for room when somebody else takes the volume fail, and nobody begins to wait afterwards")
    func fencedWhileFull() throws {
        let puts = BlockGate { $0.verb == .write && $0.phase == .arrived }
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            try await puts.pass(call)
            if call.verb == .write { throw BlockStoreError(.fenced, "planned loss of the volume") }
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
                await puts.waitUntilHeld(2)
                try await fixture.pass(.seconds(10))
                #expect(codes.withLock { $0.isEmpty })
                puts.open()
                try await fixture.pass(.seconds(60))
                #expect(codes.withLock { $0 } == [.fenced, .fenced, .fenced, .fenced])
                // As one that looked before it was known.
                let number = fixture.cache.state.withLock { fixture.cache.lineUp(&$0) }
                let late = await #expect(throws: BlockStoreError.self) {
                    try await fixture.cache.room(number, of: BlockNumber(6))
                }
                #expect(late?.code == .fenced)
                tasks.cancelAll()
                while await tasks.nextResult() != nil {}
            }
            #expect(fixture.cache.unsavedCount == 2)
            #expect(try await fixture.read(of: 1).first == 1, "reads go on")
        }
    }

    @Test("a flush fails for a local disk that cannot be read, and keeps everything")
    func unreadable() throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.write(1, of: 1)
            storage.fail { $0.verb == .read ? Self.io : nil }
            let failure = await #expect(throws: BlockStoreError.self) { try await fixture.cache.flush(.everything) }
            #expect(failure?.code == .io)
            storage.fail(nil)
            try await fixture.cache.flush(.everything)
            #expect(fixture.stored(1).first == 1)
        }
    }

    @Test(
        "an unaligned write over a local disk that fails throws its error, after one request at most", arguments: [false, true])
    func unalignedOverFailure(isHeld: Bool) throws {
        let storage = try FaultyCacheStorage(slotCount: 4)
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .seconds(1000) }, storage: storage) { fixture in
            try await fixture.store(9, in: 1)
            if isHeld { try await fixture.write(1, at: 0..<32, of: 1) }
            storage.fail { $0.verb == .assign || $0.verb == .write ? Self.io : nil }
            let failure = await #expect(throws: BlockStoreError.self) { try await fixture.write(2, at: 40..<50, of: 1) }
            #expect(failure?.code == .io && fixture.memory.counts.reads == 1)
            if !isHeld { #expect(try await fixture.read(of: 1).first == 9, "a reader gets what was fetched") }
        }
    }
}

/// What a test holds tasks at, until it opens it for good.
final class Gate: Sendable {
    private let state = Mutex<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}
