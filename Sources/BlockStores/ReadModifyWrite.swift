// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// Writes parts of blocks to a store of whole blocks: reads the block, merges, and writes it back.
///
/// Every mutation passes the one lock here, whole writes and zeroing too, so that below this layer the mutations of one block
/// are strictly serial, in the order in which they came. Different blocks go in parallel, and reads take no lock.
///
/// A lock is held until the call below has returned, whatever becomes of the task: a mutation that has begun is never
/// overtaken by the next one.
///
/// - Concurrency: as ``PartialBlockStore``. Memory is held only for the mutations in flight or waiting.
/// - Source: Docs/Semantics.md "Writes of parts of a block".
public final class ReadModifyWrite: PartialBlockStore {
    private let next: any BlockStore
    private let pool: BufferPool
    private let locks = MutationLocks()

    /// The sizes of the store below.
    public let geometry: BlockGeometry

    /// Refines `next`; merged blocks are made in memory of `pool`.
    public init(over next: any BlockStore, pool: BufferPool) {
        self.next = next
        self.pool = pool
        geometry = next.geometry
    }

    /// Reads below, without a lock; see ``BlockStore/read(_:ifNot:_:)``.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        try await next.read(block, ifNot: known, context)
    }

    /// Reads below, without a lock; see ``BlockStore/readNow(_:)``.
    public func readNow(_ block: BlockNumber) -> BlockContents? { next.readNow(block) }

    /// Asks below for the whole block; see ``PartialBlockStore/readNow(_:of:)``.
    public func readNow(_ range: Range<Int>, of block: BlockNumber) -> BlockContents? { next.readNow(block)?.part(range) }

    /// Reads the whole block below and answers with a part of it; see ``PartialBlockStore/read(_:of:_:)``.
    public func read(
        _ range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockContents {
        try await wholeBlock(block, context).part(range)
    }

    /// Writes below, after the mutations of the block that came before; see ``BlockStore/write(_:to:_:)``.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        let ticket = try await locks.acquire(.block(block))
        defer { locks.release(.block(block), ticket) }
        return try await next.write(contents, to: block, context)
    }

    /// Reads, merges and writes the block; the whole block is just written. See ``PartialBlockStore/write(_:at:of:_:)``.
    ///
    /// A block that comes out as zeros goes down as ``BlockContents/zero``: over a ``ZeroMap``, zeros written to a part of a
    /// known zero cost no request.
    public func write(
        _ contents: BlockContents, at range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) {
        let ticket = try await locks.acquire(.block(block))
        defer { locks.release(.block(block), ticket) }
        if range.count == geometry.blockSize {
            _ = try await next.write(contents, to: block, context)
        } else {
            let old = if let known = next.readNow(block) { known } else { try await wholeBlock(block, context) }
            _ = try await next.write(merge(contents, at: range, into: old), to: block, context)
        }
    }

    /// Never: there is no place for bytes here but the store below. See ``PartialBlockStore/writeNow(_:at:of:)``.
    public func writeNow(_ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber) -> Bool { false }

    /// Zeroes below, after the mutations of these blocks that came before; see ``BlockStore/zero(_:_:)``.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        guard !blocks.isEmpty else { return }
        let claim = Self.claim(blocks)
        let ticket = try await locks.acquire(claim)
        defer { locks.release(claim, ticket) }
        try await next.zero(blocks, context)
    }

    /// Passes the scope down: nothing is held back here. See ``BlockStore/flush(_:)``.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        try await next.flush(scope)
    }

    /// Asks below; see ``BlockStore/extents(in:)``.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        try await next.extents(in: blocks)
    }

    /// Whether no mutation runs or waits; for tests.
    var isIdle: Bool { locks.isIdle }

    private func wholeBlock(_ block: BlockNumber, _ context: IOContext) async throws(BlockStoreError) -> BlockContents {
        guard case .block(let contents, _) = try await next.read(block, ifNot: nil, context) else {
            preconditionFailure("a read that knows no version is never answered \"unchanged\"")
        }
        return contents
    }

    /// The block `old` with `contents` in the place of `range`, in memory of the pool.
    private func merge(_ contents: BlockContents, at range: Range<Int>, into old: BlockContents) -> BlockContents {
        let head = old.part(0..<range.lowerBound)
        let tail = old.part(range.upperBound..<geometry.blockSize)
        if contents.isAllZeros, head.isAllZeros, tail.isAllZeros { return .zero }
        let writer = pool.writer(count: geometry.blockSize)
        writer.withMutableBytes { bytes in
            head.copy(to: UnsafeMutableRawBufferPointer(rebasing: bytes[..<range.lowerBound]))
            contents.copy(to: UnsafeMutableRawBufferPointer(rebasing: bytes[range]))
            tail.copy(to: UnsafeMutableRawBufferPointer(rebasing: bytes[range.upperBound...]))
        }
        return .bytes(BufferSlice(writer.freeze(count: geometry.blockSize)))
    }

    private static func claim(_ blocks: BlockSet) -> MutationLocks.Claim {
        if blocks.ranges.count == 1, let only = blocks.ranges.first, only.count == 1 { return .block(only.lowerBound) }
        return .blocks(blocks)
    }
}
