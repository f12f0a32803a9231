// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import StoreTesting
import Synchronization

/// What outlives a process: the blocks in the store, and requests without an answer that are still on their way there.
///
/// A block is the stamps of its units.
struct CacheFileSimulationBucket: Sendable {
    struct Object: Sendable, Equatable {
        var stamps: [UInt64]
        var version = 0
        var isZero: Bool { stamps.allSatisfy { $0 == 0 } }
        var tag: BlockVersion { isZero ? .zero : .tag("\"\(version)\"") }
    }

    private(set) var objects: [Object]
    private var lastVersion = 0
    /// Mutations that nobody waits for any more, in the order in which they were sent.
    private var late: [(block: Int, stamps: [UInt64])] = []
    /// What the last mutation left that was answered, unless a later one was not: what a flush makes sure of.
    private var confirmed: [Int: Object] = [:]

    init(blockCount: Int, unitsPerBlock: Int) {
        objects = Array(repeating: Object(stamps: Array(repeating: 0, count: unitsPerBlock)), count: blockCount)
    }

    mutating func put(_ stamps: [UInt64], _ block: Int) -> Object {
        lastVersion += 1
        objects[block] = Object(stamps: stamps, version: lastVersion)
        return objects[block]
    }

    /// The sender hears of success.
    mutating func confirm(_ object: Object, _ block: Int) { confirmed[block] = object }

    /// The sender hears nothing, and the mutation may come later.
    mutating func send(late stamps: [UInt64], _ block: Int) {
        late.append((block, stamps))
        confirmed[block] = nil
    }

    /// The sender does not know what became of it.
    mutating func doubt(_ block: Int) { confirmed[block] = nil }

    /// Mutations on their way arrive, or get lost on the way; those of `block`, or all.
    ///
    /// - Returns: Whether something has changed.
    @discardableResult
    mutating func settle(_ block: Int?, _ generator: inout SeededGenerator) -> Bool {
        let before = objects
        let due = late.filter { block == nil || $0.block == block }
        late.removeAll { block == nil || $0.block == block }
        for mutation in due where generator.chance(0.5) { _ = put(mutation.stamps, mutation.block) }
        if let block {
            if let object = confirmed[block] { objects[block] = object }
        } else {
            confirmed = [:]
        }
        return objects != before
    }

    /// One mutation on its way may arrive.
    ///
    /// - Returns: The block that it changes.
    mutating func letArrive(_ generator: inout SeededGenerator) -> Int? {
        guard !late.isEmpty, generator.chance(0.2) else { return nil }
        let mutation = late.removeFirst()
        _ = put(mutation.stamps, mutation.block)
        return mutation.block
    }
}

/// The store below the cache for one life: slow, and faulty as a seed decides; what is late arrives before the block is flushed.
final class CacheFileSimulationStore: BlockStore {
    struct State: Sendable {
        var bucket: CacheFileSimulationBucket
        var generator: SeededGenerator
        var failureProbability: Double
        /// Whether the process is dead: nothing comes through any more.
        var isDead = false
        /// The first thing that must not have happened.
        var violation: String?
    }
    let geometry: BlockGeometry
    let state: Mutex<State>
    private let timeline: ManualTimeline
    /// Called when a block is given new stamps in place of old ones, or nil when a late request has changed it; tells what is wrong.
    private let onChange: @Sendable (_ new: [UInt64]?, _ block: Int, _ old: [UInt64]) -> String?
    private let note: @Sendable (String) -> Void

    init(
        _ bucket: CacheFileSimulationBucket, geometry: BlockGeometry, seed: UInt64, failureProbability: Double,
        timeline: ManualTimeline, note: @escaping @Sendable (String) -> Void,
        onChange: @escaping @Sendable ([UInt64]?, Int, [UInt64]) -> String?
    ) {
        self.geometry = geometry
        self.timeline = timeline
        self.onChange = onChange
        self.note = note
        state = Mutex(
            State(bucket: bucket, generator: SeededGenerator(seed: seed), failureProbability: failureProbability))
    }

    func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        try await delay()
        let object = try state.withLock { state throws(BlockStoreError) in
            try state.fail("read")
            return state.bucket.objects[Int(block.rawValue)]
        }
        try await delay()
        note("store: read \(block) \(object.stamps) \(object.tag), not \(known.map { "\($0)" } ?? "-")")
        if object.tag == known { return .unchanged }
        if object.isZero { return .block(.zero, .zero) }
        return .block(.bytes(BufferSlice(Buffer(copying: CacheFileSimulation.bytes(object.stamps)))), object.tag)
    }

    func readNow(_ block: BlockNumber) -> BlockContents? { nil }

    func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        var bytes = [UInt8](repeating: 0, count: geometry.blockSize)
        bytes.withUnsafeMutableBytes { contents.copy(to: $0) }
        let stamps = CacheFileSimulation.stamps(bytes)
        return try await mutate(Int(block.rawValue), stamps)
    }

    func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        let zeros = [UInt64](repeating: 0, count: geometry.blockSize / CacheFileSimulation.unit)
        for block in blocks.blocks { _ = try await mutate(Int(block.rawValue), zeros) }
    }

    /// Makes sure of what was answered.
    func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        try await delay()
        try state.withLock { state throws(BlockStoreError) in
            try state.fail("flush")
            for block in geometry.allBlocks {
                if case .blocks(let some) = scope, !some.contains(block) { continue }
                if state.bucket.settle(Int(block.rawValue), &state.generator) { _ = onChange(nil, Int(block.rawValue), []) }
            }
        }
        try await delay()
        try state.withLock { state throws(BlockStoreError) in try state.fail("flush") }
    }

    func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        try await delay()
        return state.withLock { state in
            blocks.map { block in
                let isZero = state.bucket.objects[Int(block.rawValue)].isZero
                return BlockExtent(blocks: block..<block.advanced(by: 1), kind: isZero ? .zero : .data)
            }
        }
    }

    private func mutate(_ block: Int, _ stamps: [UInt64]?) async throws(BlockStoreError) -> BlockVersion {
        try await delay()
        let object = try state.withLock { state throws(BlockStoreError) in
            if let other = state.bucket.letArrive(&state.generator) { _ = onChange(nil, other, []) }
            try state.fail("write")
            guard let stamps else {
                state.complain("a block is written with a mix within a unit")
                throw BlockStoreError(.cancelled, "the simulation is over")
            }
            if state.generator.chance(state.failureProbability / 3) {
                state.bucket.send(late: stamps, block)
                throw BlockStoreError(.timedOut, "no answer, and the request is on its way")
            }
            if let fault = onChange(stamps, block, state.bucket.objects[block].stamps) {
                state.complain("block \(block) \(stamps): \(fault)")
            }
            state.bucket.doubt(block)
            return state.bucket.put(stamps, block)
        }
        note("store: write \(block) \(object.stamps) \(object.tag)")
        try await delay()
        try state.withLock { state throws(BlockStoreError) in
            try state.fail("write, whose answer is lost")
            state.bucket.confirm(object, block)
        }
        return object.tag
    }

    private func delay() async throws(BlockStoreError) {
        let (yields, sleep) = state.withLock { state in
            (Int.random(in: 0...3, using: &state.generator), state.generator.chance(0.1) ? state.generator.next() % 400 : 0)
        }
        for _ in 0..<yields { await Task.yield() }
        guard sleep > 0 else { return }
        do { try await timeline.sleep(until: timeline.now + .milliseconds(Int64(sleep))) } catch {
            throw BlockStoreError(.cancelled, "cancelled in the store", cause: error)
        }
    }
}

extension CacheFileSimulationStore.State {
    fileprivate mutating func fail(_ what: String) throws(BlockStoreError) {
        guard !isDead else { throw BlockStoreError(.cancelled, "the process is dead") }
        guard generator.chance(failureProbability) else { return }
        throw BlockStoreError(.timedOut, "cannot \(what): a planned failure")
    }

    fileprivate mutating func complain(_ fault: String) { if violation == nil { violation = fault } }
}
