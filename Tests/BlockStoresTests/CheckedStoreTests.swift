// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import StoreTesting
import Testing

@testable import BlockStores

@Suite("CheckedStore and ReadOnlyStore") struct CheckedStoreTests {
    private func checked() throws -> CheckedStore {
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        return CheckedStore(over: memory, name: "memory", logger: Logger(label: "test"))
    }

    @Test("blocks beyond the end and contents of a wrong size are noticed")
    func requests() throws {
        let store = try checked()
        #expect(store.violation(ofBlock: BlockNumber(7)) == nil)
        #expect(store.violation(ofBlock: BlockNumber(8)) != nil)
        #expect(store.violation(ofBlocks: BlockSet(BlockNumber(0)..<BlockNumber(8))) == nil)
        #expect(store.violation(ofBlocks: BlockSet(BlockNumber(7)..<BlockNumber(9))) != nil)
        #expect(store.violation(ofBlocks: BlockSet()) == nil)
        #expect(store.violation(ofContents: .bytes(.filled(1, count: 64))) == nil)
        #expect(store.violation(ofContents: .bytes(.filled(1, count: 63))) != nil)
    }

    @Test("answers whose version and contents disagree are noticed")
    func answers() throws {
        let store = try checked()
        let data = BlockContents.bytes(.filled(1, count: 64))
        #expect(store.violation(ofAnswer: .block(data, .tag("a")), known: nil) == nil)
        #expect(store.violation(ofAnswer: .block(data, .zero), known: nil) != nil)
        #expect(store.violation(ofAnswer: .block(.zero, .zero), known: nil) == nil)
        #expect(store.violation(ofAnswer: .unchanged, known: .tag("a")) == nil)
        #expect(store.violation(ofAnswer: .unchanged, known: nil) != nil)
        #expect(store.violation(ofAnswer: .unchanged, known: .unknown) != nil)
    }

    @Test("extents with holes, overlaps, needless borders or a wrong end are noticed")
    func extents() throws {
        let store = try checked()
        func violation(_ parts: [(Int, Int, BlockExtent.Kind)]) -> String? {
            let extents = parts.map { BlockExtent(blocks: BlockNumber($0.0)..<BlockNumber($0.1), kind: $0.2) }
            return store.violation(ofExtents: extents, in: BlockNumber(0)..<BlockNumber(8))
        }
        #expect(violation([(0, 8, .data)]) == nil)
        #expect(violation([(0, 3, .data), (3, 8, .zero)]) == nil)
        #expect(violation([(0, 3, .data), (4, 8, .zero)]) != nil)
        #expect(violation([(0, 3, .data), (2, 8, .zero)]) != nil)
        #expect(violation([(0, 3, .data), (3, 8, .data)]) != nil)
        #expect(violation([(0, 3, .data), (3, 7, .zero)]) != nil)
        #expect(violation([(0, 3, .data), (3, 3, .zero), (3, 8, .data)]) != nil)
        #expect(violation([]) != nil)
    }

    @Test("two mutations of one block at once are noticed, one after the other are not")
    func order() {
        var flights = CheckedStore.MutationsInFlight()
        let set = BlockSet(BlockNumber(2)..<BlockNumber(4))
        let outcomes = [
            flights.begin(BlockNumber(1)), flights.begin(BlockNumber(1)), flights.begin(set), flights.begin(BlockNumber(3)),
        ]
        #expect(outcomes.map { $0 == nil } == [true, false, true, false])
        flights.end(set)
        let after = flights.begin(BlockNumber(3))
        let clash = flights.begin(set)
        #expect(after == nil && clash != nil)
    }

    @Test("a broken contract ends the process")
    func ends() async {
        await #expect(processExitsWith: .failure) {
            let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
            let store = CheckedStore(over: memory, name: "memory", logger: Logger(label: "test"))
            _ = try await store.write(.bytes(.filled(1, count: 63)), to: BlockNumber(0), .foreground)
        }
    }

    @Test("a read-only store reads, flushes and refuses to change")
    func readOnly() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        let store = ReadOnlyStore(over: memory)
        try await BlockStoreExpectation.holds(0, store, BlockNumber(1))
        try await store.flush(.everything)
        #expect(try await store.extents(in: store.geometry.allBlocks).count == 1)
        #expect(store.readNow(BlockNumber(0)) == nil)
        let written = await #expect(throws: BlockStoreError.self) {
            _ = try await store.write(.zero, to: BlockNumber(1), .foreground)
        }
        let zeroed = await #expect(throws: BlockStoreError.self) {
            try await store.zero(BlockSet(BlockNumber(1)..<BlockNumber(3)), .foreground)
        }
        #expect(written?.code == .readOnly && zeroed?.code == .readOnly)
        #expect(memory.counts.writes == 0 && memory.counts.zeros == 0 && memory.counts.flushes == [nil])
    }
}
