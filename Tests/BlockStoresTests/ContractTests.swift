// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Logging
import StoreTesting
import Testing

/// The layers that any block store may stand under.
enum Layer: String, CaseIterable, Sendable {
    case readModifyWrite, zeroMap, checkedStore, delays

    func over(_ next: any BlockStore) -> any BlockStore {
        switch self {
        case .readModifyWrite: ReadModifyWrite(over: next, pool: testPool)
        case .zeroMap: ZeroMap(over: next)
        case .checkedStore: CheckedStore(over: next, name: "store under test", logger: Logger(label: "test"))
        case .delays: FaultyBlockStore(over: next, seed: 7, failureProbability: 0)
        }
    }
}

/// No, one or two layers, from the top down, over a store in memory that answers at once or does not.
struct Tower: CustomTestStringConvertible, Sendable {
    let layers: [Layer]
    let answersNow: Bool

    var testDescription: String {
        (layers.map(\.rawValue) + [answersNow ? "memory, at once" : "memory"]).joined(separator: " over ")
    }

    func build() throws -> any BlockStore {
        let memory = MemoryBlockStore(geometry: try geometry(64, 12), answersNow: answersNow, hook: nil)
        return layers.reversed().reduce(memory as any BlockStore) { store, layer in layer.over(store) }
    }

    static let all: [Tower] = [true, false].flatMap { answersNow in
        let single = [[]] + Layer.allCases.map { [$0] }
        let pairs = Layer.allCases.flatMap { upper in Layer.allCases.map { [upper, $0] } }
        return (single + pairs).map { Tower(layers: $0, answersNow: answersNow) }
    }
}

let testPool = BufferPool(retainedBytesMax: 1 << 20)

/// A geometry that the test knows to be right.
func geometry(_ blockSize: Int, _ blockCount: Int) throws -> BlockGeometry {
    try #require(BlockGeometry(blockSize: blockSize, blockCount: blockCount))
}

@Suite("Contracts") struct ContractTests {
    @Test("every store and every pair of layers keeps the contract of block stores", arguments: Tower.all)
    func blockStores(_ tower: Tower) async throws {
        for rule in BlockStoreContract.cases {
            let store = try tower.build()
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(store) }
        }
    }

    @Test("read-modify-write keeps the contract of partial block stores over every layer", arguments: Tower.all)
    func partialBlockStores(_ tower: Tower) async throws {
        for rule in PartialBlockStoreContract.cases {
            let store = ReadModifyWrite(over: try tower.build(), pool: testPool)
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(store) }
        }
    }

    @Test("a disk of blocks keeps the contract of disks over every layer", arguments: Tower.all, [1, 2, 16])
    func disks(_ tower: Tower, fanOutMax: Int) async throws {
        for rule in DiskContract.cases {
            let store = ReadModifyWrite(over: try tower.build(), pool: testPool)
            let disk = BlockDisk(over: store, fanOutMax: fanOutMax, isReadOnly: false)
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(disk) }
        }
    }

    @Test("a store that takes writes at once keeps the contracts of stores, of partial ones, and below a disk")
    func promptStores() async throws {
        let geometry = try geometry(64, 12)
        func store() -> PromptStore { PromptStore(geometry: geometry) { $0.rawValue % 3 != 2 } }
        for rule in BlockStoreContract.cases {
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(store()) }
        }
        for rule in PartialBlockStoreContract.cases {
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(store()) }
        }
        for rule in DiskContract.cases {
            let disk = BlockDisk(over: store(), fanOutMax: 4, isReadOnly: false)
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(disk) }
        }
    }

    @Test("the contract catches a store that loses a write it took at once, or keeps one it refused")
    func contractCatchesPromptStores() async throws {
        for flaw in [PromptStore.Flaw.losesWhatItTook, .keepsWhatItRefused] {
            let geometry = try geometry(64, 12)
            var broken = 0
            for rule in PartialBlockStoreContract.cases {
                let store = PromptStore(geometry: geometry, flaw: flaw) { $0.rawValue % 3 != 2 }
                do { try await rule.run(store) } catch is BlockContractViolation { broken += 1 }
            }
            #expect(broken > 0, "no rule catches \(flaw)")
        }
    }

    @Test("the contract catches a store that forgets a zeroing, a write, or the offset of a slice")
    func contractCatches() async throws {
        for flaw in BrokenStore.Flaw.allCases {
            var broken = 0
            for rule in BlockStoreContract.cases {
                let memory = MemoryBlockStore(geometry: try geometry(64, 12), answersNow: false, hook: nil)
                do { try await rule.run(BrokenStore(next: memory, flaw: flaw)) } catch is BlockContractViolation { broken += 1 }
            }
            #expect(broken > 0, "no rule catches \(flaw)")
        }
    }
}

/// A store with one flaw, to try the contract on.
struct BrokenStore: BlockStore {
    enum Flaw: CaseIterable { case forgetsZero, forgetsRewrite, validatesAnything, writesWholeBuffer, callsDataZero }
    let next: any BlockStore
    let flaw: Flaw
    var geometry: BlockGeometry { next.geometry }

    func read(_ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext) async throws(BlockStoreError) -> BlockRead {
        if flaw == .validatesAnything, known != nil { return .unchanged }
        return try await next.read(block, ifNot: known, context)
    }
    func readNow(_ block: BlockNumber) -> BlockContents? { next.readNow(block) }
    func write(_ contents: BlockContents, to block: BlockNumber, _ context: IOContext) async throws(BlockStoreError)
        -> BlockVersion
    {
        if flaw == .forgetsRewrite, case .block(let old, _) = try await next.read(block, ifNot: nil, context), !old.isAllZeros {
            return .unknown
        }
        if flaw == .writesWholeBuffer, case .bytes(let slice) = contents {
            let start = BufferSlice(slice.buffer, range: 0..<slice.count)
            return try await next.write(.bytes(start), to: block, context)
        }
        return try await next.write(contents, to: block, context)
    }
    func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        if flaw == .forgetsZero { return }
        try await next.zero(blocks, context)
    }
    func flush(_ scope: FlushScope) async throws(BlockStoreError) { try await next.flush(scope) }
    func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        if flaw == .callsDataZero { return [BlockExtent(blocks: blocks, kind: .zero)] }
        return try await next.extents(in: blocks)
    }
}
