// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// A block store that also reads and writes parts of a block, and that orders mutations itself.
///
/// What ``BlockDisk`` stands on. Above this seam the rule of ``BlockStore`` on order does not bind: any number of mutations of
/// one block may be asked for at once, and the implementation makes them serial (``ReadModifyWrite`` is the adapter that does
/// so for any `BlockStore`; the block cache does it by itself). Of two writes that overlap in time either may win, but whole.
public protocol PartialBlockStore: BlockStore {
    /// Reads the bytes `range` of `block`.
    ///
    /// - Parameter range: Within `0 ..< blockSize`, not empty.
    /// - Returns: `range.count` bytes, or `.zero` for zeros.
    /// - Throws: As ``BlockStore/read(_:ifNot:_:)``.
    func read(
        _ range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockContents

    /// Answers a read of a part from memory, at once, or not at all; see ``BlockStore/readNow(_:)``.
    ///
    /// - Parameter range: As for ``read(_:of:_:)``.
    /// - Returns: The bytes when this layer, or one below, has them without waiting for anything; else nil.
    func readNow(_ range: Range<Int>, of block: BlockNumber) -> BlockContents?

    /// As ``readNow(_:of:)``, but bytes that are in memory already may be shown to `reader` where they are, without a copy.
    ///
    /// What ``Disk/readNow(_:lending:)`` stands on, which says what `reader` may do. A layer that keeps no bytes lends none.
    func readNow(_ range: Range<Int>, of block: BlockNumber, lending reader: (RawSpan) -> Void) -> PromptRead<BlockContents>

    /// Writes a part of `block`; the rest of the block keeps its bytes.
    ///
    /// - Parameters:
    ///   - contents: `range.count` bytes, or `.zero`.
    ///   - range: Within `0 ..< blockSize`, not empty; may be the whole block.
    /// - Throws: As ``BlockStore/write(_:to:_:)``.
    func write(
        _ contents: BlockContents, at range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError)

    /// Takes a write of a part, or of a whole block, at once, or not at all.
    ///
    /// What ``Disk/writeNow(_:at:)`` stands on. A layer that has no place of its own for bytes always says false.
    ///
    /// - Parameters:
    ///   - bytes: `range.count` bytes; read before this returns, and not kept.
    ///   - range: As for ``write(_:at:of:_:)``.
    /// - Returns: True when the write is done, as if ``write(_:at:of:_:)`` had returned. False when nothing was changed.
    /// - Concurrency: takes no lock that is held over I/O. Safe with every other verb; a mutation of the block under way makes
    ///   it say false rather than wait.
    func writeNow(_ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber) -> Bool

    /// Makes durable on the calling thread what was acknowledged before, or says that ``BlockStore/flush(_:)`` has to be asked.
    ///
    /// What ``Disk/flushNow()`` stands on. A layer that keeps no bytes on a local disk always says false.
    func flushNow() -> Bool
}

extension PartialBlockStore {
    /// Flushes nothing.
    public func flushNow() -> Bool { false }

    /// Lends nothing.
    public func readNow(
        _ range: Range<Int>, of block: BlockNumber, lending reader: (RawSpan) -> Void
    ) -> PromptRead<BlockContents> {
        PromptRead(readNow(range, of: block))
    }
}
