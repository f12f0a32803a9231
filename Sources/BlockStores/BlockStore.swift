// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// Waist 1: a disk as fixed-size numbered blocks, of which zero is a value.
///
/// Every layer between ``BlockDisk`` and the objects is a `BlockStore` over the next one. The contract below is data in
/// StoreTesting (`BlockStoreContract`) and runs on every implementation and on pairs of layers; `CheckedStore` asserts the
/// part of it that a single call shows.
///
/// **Whole blocks.** A block is the unit of integrity, so only whole blocks pass here; ``PartialBlockStore`` refines it.
///
/// **Zeros.** A block never written, or zeroed, reads as ``BlockContents/zero``. Bytes that happen to be zeros may come back
/// either way; `.zero` and a slice of zeros are equal contents.
///
/// **Order.** Mutations (`write`, `zero`) of one block are strictly serial below `ReadModifyWrite` and below the cache: nobody
/// calls `write` or `zero` for a block while another mutation of that block runs. Mutations of different blocks, and any
/// number of reads, run at once. A read that overlaps a mutation of its block returns the old or the new block, whole.
///
/// **Indeterminate blocks.** A mutation that throws, or whose task is cancelled, leaves the block old or new. Whoever keeps
/// knowledge about blocks drops it *before* the call goes down, and learns from a read, a list page or a return only if no
/// mutation of that block began or ended since that request was sent. A mutation is never aborted to be overtaken.
///
/// **Flush.** See ``flush(_:)``; a layer passes the caller's scope down after its own work, also when it had nothing to do.
///
/// **No defaults.** Every layer spells out every verb: a verb passed on unseen loses acknowledged writes.
///
/// - Concurrency: every verb is safe with every other, within the rule on order.
/// - Source: Docs/Semantics.md; Docs/Architecture.md "The two waists".
public protocol BlockStore: Sendable {
    /// The sizes; they never change while the store is open.
    var geometry: BlockGeometry { get }

    /// Reads one block.
    ///
    /// - Parameters:
    ///   - block: Below ``BlockGeometry/blockCount``.
    ///   - known: A version the caller holds already, or nil. ``BlockVersion/unknown`` never matches.
    /// - Returns: `.unchanged` only if the block has the version `known`; else exactly `blockSize` bytes or `.zero`.
    /// - Throws: Any code but `.readOnly`, `.noSpace` and `.outOfRange`.
    func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead

    /// Answers a read from memory, at once, or not at all.
    ///
    /// What makes a hit as cheap as in C: no task, no allocation. ``read(_:ifNot:_:)`` gives the same answer.
    ///
    /// - Returns: The block when this layer, or one below, knows it without waiting for anything; else nil.
    /// - Concurrency: takes no lock that is held over I/O. Safe with every other verb.
    func readNow(_ block: BlockNumber) -> BlockContents?

    /// Whether ``readNow(_:)`` would say zero, for a layer above that answers by itself.
    ///
    /// - Parameter use: What is done with the answer; only for the counts.
    func isKnownZero(_ block: BlockNumber, for use: ZeroUse) -> Bool

    /// Writes one whole block.
    ///
    /// - Parameter contents: Exactly `blockSize` bytes, or `.zero`. Bytes that are all zeros count as zero.
    /// - Returns: The version that the block has now; `.unknown` where the layer cannot tell.
    /// - Throws: Any code but `.outOfRange`; then the block is indeterminate, except after `.readOnly`
    ///   (nothing was sent).
    func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion

    /// Makes all of `blocks` zero; a set, because S3 deletes 1,000 objects with one request.
    ///
    /// - Throws: As `write`; then each of `blocks` is indeterminate.
    func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError)

    /// Makes durable every write *and every zero* in `scope` that returned before this call began.
    ///
    /// Concurrent flushes may share work.
    ///
    /// - Throws: When that could not be done; the next flush tries again.
    func flush(_ scope: FlushScope) async throws(BlockStoreError)

    /// Tells data from zeros, without asking the network.
    ///
    /// - Returns: Extents that cover `blocks` exactly, in order, neighbours of different kinds. What is not known is data.
    /// - Throws: Only what a layer's own local storage can fail with.
    func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent]
}

/// What a layer that asks for known zeros does if the block is one.
public enum ZeroUse: Sendable {
    /// It answers a read.
    case read
    /// It takes a write of zeros without doing anything.
    case write
    /// It spares itself a request that nobody waits for, or a fetch.
    case planning
}

extension BlockStore {
    /// Asks ``readNow(_:)``: right for layers that count no zeros.
    public func isKnownZero(_ block: BlockNumber, for use: ZeroUse) -> Bool {
        if case .zero? = readNow(block) { true } else { false }
    }
}
