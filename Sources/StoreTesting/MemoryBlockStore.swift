// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
public import DataPath
internal import Synchronization

/// A call of a verb of a block store, as a test sees it.
public struct BlockCall: Sendable, Hashable {
    /// The verbs that may wait.
    public enum Verb: Sendable, Hashable {
        /// One block is read.
        case read
        /// One block is written.
        case write
        /// A set of blocks is zeroed.
        case zero
        /// A set of blocks, or all, is flushed.
        case flush
        /// Extents are asked for.
        case extents
    }

    /// The two moments at which a call can be held or made to fail.
    public enum Phase: Sendable, Hashable {
        /// It has arrived and had no effect yet.
        case arrived
        /// It had its effect (a read has seen the block) but has not returned.
        case done
    }

    /// What is done.
    public let verb: Verb
    /// To which blocks.
    public let blocks: BlockSet
    /// How far it has come.
    public let phase: Phase
}

/// An honest block store in memory: the reference for the contract, and what tests stand on.
///
/// Nothing fails and nothing waits, unless `hook` makes it. Every effect happens at one moment, between the two phases of its
/// call.
public final class MemoryBlockStore: BlockStore {
    /// Called at both phases of every call; may wait, and may throw for the store.
    public typealias Hook = @Sendable (BlockCall) async throws(BlockStoreError) -> Void

    /// How often each verb was called.
    public struct Counts: Sendable, Hashable {
        /// Blocks read, without those answered by `readNow`.
        public var reads = 0
        /// Blocks written, zeros included.
        public var writes = 0
        /// Calls to zero a set.
        public var zeros = 0
        /// Blocks in these sets, altogether.
        public var zeroedBlocks = 0
        /// The scope of each flush, in order; nil means everything.
        public var flushes: [BlockSet?] = []
        /// Calls for extents.
        public var extents = 0
    }

    private struct State {
        var blocks: [BlockNumber: (bytes: BufferSlice, version: Int)] = [:]
        var lastVersion = 0
        var counts = Counts()
    }
    private let state = Mutex(State())
    private let answersNow: Bool
    private let hook: Hook?

    /// The sizes.
    public let geometry: BlockGeometry

    /// Makes a store of zeros.
    ///
    /// - Parameters:
    ///   - answersNow: Whether `readNow` answers; else it never does, like a store behind a network.
    ///   - hook: What happens at both phases of every call; nil for nothing.
    public init(geometry: BlockGeometry, answersNow: Bool, hook: Hook?) {
        self.geometry = geometry
        self.answersNow = answersNow
        self.hook = hook
    }

    /// How often each verb was called so far.
    public var counts: Counts { state.withLock { $0.counts } }

    /// The bytes of a block as they are now, past all counting and hooks.
    public func bytes(of block: BlockNumber) -> [UInt8] {
        state.withLock { $0.blocks[block]?.bytes.bytes } ?? [UInt8](repeating: 0, count: geometry.blockSize)
    }

    /// Reads one block; see ``BlockStore/read(_:ifNot:_:)``.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        state.withLock { $0.counts.reads += 1 }
        let answer = try await run(.read, BlockSet(block..<block.advanced(by: 1))) { state in
            guard let stored = state.blocks[block] else { return (BlockContents.zero, BlockVersion.zero) }
            return (.bytes(stored.bytes), .tag("v\(stored.version)"))
        }
        return answer.1 == known ? .unchanged : .block(answer.0, answer.1)
    }

    /// Answers at once if it was made to; see ``BlockStore/readNow(_:)``.
    public func readNow(_ block: BlockNumber) -> BlockContents? {
        guard answersNow else { return nil }
        return state.withLock { $0.blocks[block].map { .bytes($0.bytes) } } ?? .zero
    }

    /// Writes one block; see ``BlockStore/write(_:to:_:)``.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        state.withLock { $0.counts.writes += 1 }
        return try await run(.write, BlockSet(block..<block.advanced(by: 1))) { state in
            guard case .bytes(let bytes) = contents, !bytes.isAllZeros else {
                state.blocks[block] = nil
                return .zero
            }
            state.lastVersion += 1
            state.blocks[block] = (bytes, state.lastVersion)
            return .tag("v\(state.lastVersion)")
        }
    }

    /// Zeroes blocks; see ``BlockStore/zero(_:_:)``.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        state.withLock {
            $0.counts.zeros += 1
            $0.counts.zeroedBlocks += blocks.blockCount
        }
        try await run(.zero, blocks) { state in
            for block in state.blocks.keys.filter(blocks.contains) { state.blocks[block] = nil }
        }
    }

    /// Notes the scope; everything is as durable as it gets. See ``BlockStore/flush(_:)``.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        var blocks: BlockSet?
        if case .blocks(let some) = scope { blocks = some }
        let noted = blocks
        try await run(.flush, noted ?? BlockSet(geometry.allBlocks)) { $0.counts.flushes.append(noted) }
    }

    /// Tells data from zeros; see ``BlockStore/extents(in:)``.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        state.withLock { $0.counts.extents += 1 }
        return try await run(.extents, BlockSet(blocks)) { state in
            let data = BlockSet(blocks: state.blocks.keys.filter(blocks.contains))
            var zeros = BlockSet(blocks)
            zeros.subtract(data)
            let extents =
                data.ranges.map { BlockExtent(blocks: $0, kind: .data) }
                + zeros.ranges.map { BlockExtent(blocks: $0, kind: .zero) }
            return extents.sorted { $0.blocks.lowerBound < $1.blocks.lowerBound }
        }
    }

    private func run<Output: Sendable>(
        _ verb: BlockCall.Verb, _ blocks: BlockSet, _ effect: @Sendable (inout State) -> Output
    ) async throws(BlockStoreError) -> Output {
        try await hook?(BlockCall(verb: verb, blocks: blocks, phase: .arrived))
        let output = state.withLock { state in effect(&state) }
        try await hook?(BlockCall(verb: verb, blocks: blocks, phase: .done))
        return output
    }
}
