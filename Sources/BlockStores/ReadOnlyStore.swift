// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// A store that may be read only: every mutation fails with `.readOnly`, and nothing of it goes down.
public struct ReadOnlyStore: BlockStore {
    private let next: any BlockStore

    /// Guards `next` against mutations.
    public init(over next: any BlockStore) { self.next = next }

    /// The sizes of the store below.
    public var geometry: BlockGeometry { next.geometry }

    /// Reads below; see ``BlockStore/read(_:ifNot:_:)``.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        try await next.read(block, ifNot: known, context)
    }

    /// Reads below; see ``BlockStore/readNow(_:)``.
    public func readNow(_ block: BlockNumber) -> BlockContents? { next.readNow(block) }

    /// Asks below; see ``BlockStore/isKnownZero(_:for:)``.
    public func isKnownZero(_ block: BlockNumber, for use: ZeroUse) -> Bool { next.isKnownZero(block, for: use) }

    /// Fails.
    ///
    /// - Throws: `.readOnly`; the block is what it was.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        throw BlockStoreError(.readOnly, "cannot write block \(block): the disk is read only")
    }

    /// Fails.
    ///
    /// - Throws: `.readOnly`; the blocks are what they were.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        throw BlockStoreError(.readOnly, "cannot zero \(blocks.blockCount) blocks: the disk is read only")
    }

    /// Passes the scope down: a layer below may still hold what was written before. See ``BlockStore/flush(_:)``.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        try await next.flush(scope)
    }

    /// Asks below; see ``BlockStore/extents(in:)``.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        try await next.extents(in: blocks)
    }
}
