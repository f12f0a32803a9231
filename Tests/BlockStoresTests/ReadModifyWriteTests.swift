// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import StoreTesting
import Testing

@testable import BlockStores

@Suite("ReadModifyWrite") struct ReadModifyWriteTests {
    private let block = BlockNumber(1)
    private static func sliceOf(_ value: UInt8, _ count: Int) -> BlockContents { .bytes(.filled(value, count: count)) }

    @Test("a partial write reads and writes once; a whole one reads nothing; zeros to a known zero do neither")
    func calls() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        let store = ReadModifyWrite(over: ZeroMap(over: memory), pool: testPool)
        try await store.write(Self.sliceOf(1, 64), at: 0..<64, of: block, .foreground)
        #expect(memory.counts.reads == 0 && memory.counts.writes == 1)
        try await store.write(Self.sliceOf(2, 8), at: 8..<16, of: block, .foreground)
        #expect(memory.counts.reads == 1 && memory.counts.writes == 2)
        try await store.zero(BlockSet(store.geometry.allBlocks), .foreground)
        let before = memory.counts
        try await store.write(.zero, at: 8..<16, of: block, .foreground)
        try await store.write(Self.sliceOf(0, 8), at: 8..<16, of: block, .foreground)
        #expect(memory.counts == before)
        #expect(store.isIdle)
    }

    @Test("a block whose last bytes become zeros goes down as zero")
    func becomesZero() async throws {
        let seen = SeenContents()
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        let store = ReadModifyWrite(over: SpyStore(next: memory, seen: seen), pool: testPool)
        try await store.write(Self.sliceOf(1, 64), at: 0..<64, of: block, .foreground)
        try await store.write(Self.sliceOf(0, 32), at: 0..<32, of: block, .foreground)
        try await store.write(.zero, at: 32..<64, of: block, .foreground)
        #expect(seen.kinds == ["bytes", "bytes", "zero"])
    }

    @Test("mutations of one block go down one after the other, in order, and reads do not wait for them")
    func serial() async throws {
        let gate = BlockGate { $0.verb != .read && $0.phase == .arrived }
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false) { call async throws(BlockStoreError) in
            try await gate.pass(call)
        }
        let checked = CheckedStore(over: memory, name: "memory", logger: Logger(label: "test"))
        let store = ReadModifyWrite(over: checked, pool: testPool)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try await store.write(Self.sliceOf(1, 64), to: BlockNumber(1), .foreground) }
            await gate.waitUntilHeld(1)
            group.addTask { try await store.zero(BlockSet(BlockNumber(0)..<BlockNumber(3)), .foreground) }
            group.addTask { _ = try await store.write(Self.sliceOf(3, 64), to: BlockNumber(5), .foreground) }
            await gate.waitUntilHeld(2)
            #expect(gate.held.map(\.verb) == [.write, .write])
            guard case .block(.zero, _) = try await store.read(BlockNumber(1), ifNot: nil, .foreground) else {
                Issue.record("a read waits for nobody and sees the old block")
                return
            }
            gate.release { $0.blocks.contains(BlockNumber(1)) }
            gate.open()
            try await group.waitForAll()
        }
        #expect(store.isIdle)
    }

    @Test("a cancelled waiter leaves the queue; a mutation that has begun keeps its lock until it returns")
    func cancellation() async throws {
        let gate = BlockGate { $0.verb == .write && $0.phase == .arrived }
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false) { call async throws(BlockStoreError) in
            try await gate.pass(call)
        }
        let store = ReadModifyWrite(over: memory, pool: testPool)
        let running = Task { _ = try await store.write(Self.sliceOf(1, 64), to: BlockNumber(1), .foreground) }
        await gate.waitUntilHeld(1)
        running.cancel()
        let waiter = Task { _ = try await store.write(Self.sliceOf(2, 64), to: BlockNumber(1), .foreground) }
        let set = Task { try await store.zero(BlockSet(BlockNumber(0)..<BlockNumber(3)), .foreground) }
        waiter.cancel()
        set.cancel()
        for task in [waiter, set] {
            let error = await #expect(throws: BlockStoreError.self) { try await task.value }
            #expect(error?.code == .cancelled)
        }
        #expect(gate.held.count == 1)
        gate.release()
        try await running.value
        #expect(memory.bytes(of: block) == [UInt8](repeating: 1, count: 64) && store.isIdle)
    }

    @Test("a failed read or write gives its error and the lock back")
    func failure() async throws {
        for verb in [BlockCall.Verb.read, .write] {
            let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false) { call throws(BlockStoreError) in
                if call.verb == verb { throw BlockStoreError(.timedOut, "no answer") }
            }
            let store = ReadModifyWrite(over: memory, pool: testPool)
            let error = await #expect(throws: BlockStoreError.self) {
                try await store.write(Self.sliceOf(2, 8), at: 8..<16, of: BlockNumber(1), .foreground)
            }
            #expect(error?.code == .timedOut && store.isIdle)
        }
    }
}

/// Notes what kind of contents are written.
final class SeenContents: Sendable {
    private let log = BlockLog()
    var kinds: [String] { log.lines }
    func note(_ contents: BlockContents) {
        switch contents {
        case .zero: log.add("zero")
        case .bytes: log.add("bytes")
        }
    }
}

/// A store that notes what is written.
struct SpyStore: BlockStore {
    let next: any BlockStore
    let seen: SeenContents
    var geometry: BlockGeometry { next.geometry }
    func read(_ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext) async throws(BlockStoreError) -> BlockRead {
        try await next.read(block, ifNot: known, context)
    }
    func readNow(_ block: BlockNumber) -> BlockContents? { next.readNow(block) }
    func write(_ contents: BlockContents, to block: BlockNumber, _ context: IOContext) async throws(BlockStoreError)
        -> BlockVersion
    {
        seen.note(contents)
        return try await next.write(contents, to: block, context)
    }
    func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) { try await next.zero(blocks, context) }
    func flush(_ scope: FlushScope) async throws(BlockStoreError) { try await next.flush(scope) }
    func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] { try await next.extents(in: blocks) }
}
