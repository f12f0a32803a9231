// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
public import DataPath
internal import Synchronization

/// A layer that delays calls and lets some fail, as a seed decides: before their effect, or after it.
///
/// A call is delayed by giving way to other tasks, so it only mixes up what runs at once; under ``SimulationExecutor`` the
/// order follows from the seed. `readNow` never answers here, and versions are passed on.
public final class FaultyBlockStore: BlockStore {
    private let next: any BlockStore
    private let generator: Mutex<SeededGenerator>
    private let failureProbability: Double

    /// The sizes of the store below.
    public let geometry: BlockGeometry

    /// Troubles the calls to `next`.
    ///
    /// - Parameter failureProbability: How many of the reads, writes, zeroings and flushes fail, 0 to 1.
    public init(over next: any BlockStore, seed: UInt64, failureProbability: Double) {
        self.next = next
        self.failureProbability = failureProbability
        generator = Mutex(SeededGenerator(seed: seed))
        geometry = next.geometry
    }

    /// Reads, or fails; see ``BlockStore/read(_:ifNot:_:)``.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        try await troubled("read block \(block)") { () async throws(BlockStoreError) in
            try await next.read(block, ifNot: known, context)
        }
    }

    /// Never answers; see ``BlockStore/readNow(_:)``.
    public func readNow(_ block: BlockNumber) -> BlockContents? { nil }

    /// Writes, or fails before or after it wrote; see ``BlockStore/write(_:to:_:)``.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        try await troubled("write block \(block)") { () async throws(BlockStoreError) in
            try await next.write(contents, to: block, context)
        }
    }

    /// Zeroes; may fail before, after, or when it has done the first half. See ``BlockStore/zero(_:_:)``.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        let half = BlockSet(blocks: blocks.blocks.prefix(blocks.blockCount / 2))
        var rest = blocks
        rest.subtract(half)
        try await troubled("zero the first half") { () async throws(BlockStoreError) in try await next.zero(half, context) }
        let others = rest
        try await troubled("zero the second half") { () async throws(BlockStoreError) in try await next.zero(others, context) }
    }

    /// Flushes, or fails; see ``BlockStore/flush(_:)``.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        try await troubled("flush") { () async throws(BlockStoreError) in try await next.flush(scope) }
    }

    /// Asks below, after a delay; see ``BlockStore/extents(in:)``.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        await delay()
        return try await next.extents(in: blocks)
    }

    private func troubled<Output: Sendable>(
        _ what: String, _ call: () async throws(BlockStoreError) -> Output
    ) async throws(BlockStoreError) -> Output {
        await delay()
        try fail(what, "not done", failureProbability / 2)
        let output = try await call()
        await delay()
        try fail(what, "done, but the answer got lost", failureProbability / 2)
        return output
    }

    private func delay() async {
        for _ in 0..<generator.withLock({ Int.random(in: 0...3, using: &$0) }) { await Task.yield() }
    }

    private func fail(_ what: String, _ how: String, _ probability: Double) throws(BlockStoreError) {
        guard generator.withLock({ $0.chance(probability) }) else { return }
        throw BlockStoreError(.timedOut, "cannot \(what): a planned failure (\(how))")
    }
}
