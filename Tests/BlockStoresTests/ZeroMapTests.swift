// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import BlockStores

@Suite("ZeroMap") struct ZeroMapTests {
    private let block = BlockNumber(3)

    private func write(_ value: UInt8, to store: any BlockStore) async throws {
        _ = try await store.write(.bytes(.filled(value, count: 64)), to: block, .foreground)
    }

    @Test("a known zero is read, at once or not, without a call below")
    func readHit() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        let map = ZeroMap(over: memory)
        #expect(map.readNow(block) == nil)
        _ = try await map.read(block, ifNot: nil, .foreground)
        _ = try await map.read(block, ifNot: nil, .foreground)
        #expect(map.readNow(block)?.isAllZeros == true)
        if case .block = try await map.read(block, ifNot: .zero, .foreground) { Issue.record("the known version validates") }
        #expect(memory.counts.reads == 1)
        #expect(map.statistics == ZeroMapStatistics(size: 1, readHits: 3, writeHits: 0))
    }

    @Test("zeros over known zeros go nowhere; other blocks of a set do")
    func writeHit() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        let map = ZeroMap(over: memory)
        try await write(0, to: map)
        try await write(0, to: map)
        #expect(memory.counts.writes == 1)
        try await map.zero(BlockSet(BlockNumber(0)..<BlockNumber(8)), .foreground)
        try await map.zero(BlockSet(BlockNumber(0)..<BlockNumber(8)), .foreground)
        #expect(memory.counts.zeros == 1 && memory.counts.zeroedBlocks == 7)
        #expect(map.statistics == ZeroMapStatistics(size: 8, readHits: 0, writeHits: 1 + 1 + 8))
    }

    @Test("bytes that are zeros go down, and come back, as zero")
    func zeroBytes() async throws {
        let map = ZeroMap(over: BrokenStore(next: ZeroBytesStore(geometry: try geometry(64, 8)), flaw: .forgetsZero))
        guard case .block(.zero, .tag("zeros")) = try await map.read(block, ifNot: nil, .foreground) else {
            Issue.record("zeros came back as bytes, or lost their version")
            return
        }
        #expect(map.statistics.size == 1)
    }

    @Test("a read that saw no block before a write ended teaches nothing, wherever it is held")
    func readRacesWrite() async throws {
        let gate = BlockGate { $0.verb == .read && $0.phase == .done }
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false) { call async throws(BlockStoreError) in
            try await gate.pass(call)
        }
        let map = ZeroMap(over: memory)
        async let answer = map.read(block, ifNot: nil, .foreground)
        await gate.waitUntilHeld(1)
        try await write(5, to: map)
        gate.open()
        guard case .block(.zero, _) = try await answer else {
            Issue.record("the read saw the block before the write")
            return
        }
        #expect(map.statistics.size == 0)
        try await BlockStoreExpectation.holds(5, map, block)
    }

    @Test("while a mutation runs nothing is known of its block, and nothing after it failed")
    func failedMutation() async throws {
        for fails in [false, true] {
            let gate = BlockGate { $0.verb == .write && $0.phase == .done }
            let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false) {
                call async throws(BlockStoreError) in
                try await gate.pass(call)
            }
            let map = ZeroMap(over: memory)
            try await map.zero(BlockSet(map.geometry.allBlocks), .foreground)
            #expect(map.readNow(block) != nil)
            async let changed: Void = write(5, to: map)
            await gate.waitUntilHeld(1)
            #expect(map.readNow(block) == nil)
            gate.release(failing: fails ? BlockStoreError(.timedOut, "no answer") : nil)
            do {
                try await changed
                #expect(!fails)
            } catch { #expect(fails) }
            #expect(map.readNow(block) == nil)
            #expect(map.statistics.size == 7)
            gate.open()
            try await BlockStoreExpectation.holds(5, map, block)
        }
    }

    @Test("extents show known zeros where the store below knows nothing")
    func extents() async throws {
        let map = ZeroMap(
            over: NoExtentsStore(next: MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)))
        try await map.zero(BlockSet(blocks: [1, 2, 5].map { BlockNumber($0) }), .foreground)
        let found = try await map.extents(in: map.geometry.allBlocks).map { "\($0.kind) \($0.blocks.count)" }
        #expect(found == ["data 1", "zero 2", "data 2", "zero 1", "data 2"])
    }

    @Test("a flush is passed down with its scope, also when nothing was written")
    func flush() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        let map = ZeroMap(over: memory)
        let some = BlockSet(blocks: [block])
        try await map.flush(.blocks(some))
        try await map.flush(.everything)
        #expect(memory.counts.flushes == [some, nil])
    }
}

/// Checks on single blocks.
enum BlockStoreExpectation {
    static func holds(_ value: UInt8, _ store: any BlockStore, _ block: BlockNumber) async throws {
        guard case .block(let contents, _) = try await store.read(block, ifNot: nil, .foreground) else {
            Issue.record("unchanged, although no version is known")
            return
        }
        #expect(contents.allBytes(count: store.geometry.blockSize).allSatisfy { $0 == value })
    }
}

/// A store that has an object of zeros for every block.
struct ZeroBytesStore: BlockStore {
    let geometry: BlockGeometry
    func read(_ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext) async throws(BlockStoreError) -> BlockRead {
        .block(.bytes(.filled(0, count: geometry.blockSize)), .tag("zeros"))
    }
    func readNow(_ block: BlockNumber) -> BlockContents? { nil }
    func write(_ contents: BlockContents, to block: BlockNumber, _ context: IOContext) async throws(BlockStoreError)
        -> BlockVersion
    {
        .unknown
    }
    func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {}
    func flush(_ scope: FlushScope) async throws(BlockStoreError) {}
    func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] { [] }
}

/// A store that calls everything data, as the direct layout does.
struct NoExtentsStore: BlockStore {
    let next: any BlockStore
    var geometry: BlockGeometry { next.geometry }
    func read(_ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext) async throws(BlockStoreError) -> BlockRead {
        try await next.read(block, ifNot: known, context)
    }
    func readNow(_ block: BlockNumber) -> BlockContents? { nil }
    func write(_ contents: BlockContents, to block: BlockNumber, _ context: IOContext) async throws(BlockStoreError)
        -> BlockVersion
    {
        try await next.write(contents, to: block, context)
    }
    func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) { try await next.zero(blocks, context) }
    func flush(_ scope: FlushScope) async throws(BlockStoreError) { try await next.flush(scope) }
    func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        [BlockExtent(blocks: blocks, kind: .data)]
    }
}
