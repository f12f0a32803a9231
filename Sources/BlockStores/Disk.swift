// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// What a front end (FUSE, NBD) sees: one run of bytes of fixed size.
///
/// Nothing above may assume what lies below: ``BlockDisk`` over blocks, or a log-structured volume with a write-back of its own.
///
/// - Concurrency: every verb is safe with every other. Overlapping mutations may land in either order.
/// - Source: Docs/Semantics.md.
public protocol Disk: Sendable {
    /// The bytes of the disk.
    var sizeBytes: UInt64 { get }

    /// The unit in which the disk works best, in bytes; what `st_blksize` and NBD's preferred block size say.
    var preferredSizeBytes: Int { get }

    /// Whether every mutation fails with `.readOnly`.
    var isReadOnly: Bool { get }

    /// Reads `range`.
    ///
    /// - Parameter range: On the disk; else `.outOfRange`.
    /// - Returns: Exactly `range.count` bytes.
    /// - Throws: As ``BlockStore/read(_:ifNot:_:)``, and `.outOfRange`.
    func read(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError) -> DiskBytes

    /// Answers a read that needs nobody else, at once: without waiting, without a task.
    ///
    /// What makes a hit as cheap as in C (Docs/Architecture.md, "The data path"); never the only way to read.
    ///
    /// - Parameter range: On the disk, not empty.
    /// - Returns: The bytes, or nil when ``read(_:_:)`` has to be asked.
    /// - Concurrency: takes no lock that is held over I/O.
    func readNow(_ range: Range<UInt64>) -> DiskBytes?

    /// As ``readNow(_:)``, but bytes that are in memory already may be shown to `reader` where they are, without a copy.
    ///
    /// - Parameters:
    ///   - range: On the disk, not empty.
    ///   - reader: Called at most once, before this returns, with all bytes of `range`. Whoever writes them waits meanwhile: it must not
    ///     wait for anything, nor use the disk.
    /// - Concurrency: as ``readNow(_:)``; no lock is held while `reader` runs.
    func readNow(_ range: Range<UInt64>, lending reader: (RawSpan) -> Void) -> PromptRead<DiskBytes>

    /// Writes `bytes` from `offset` on. A failed write leaves each block it touches old or new.
    ///
    /// - Throws: As ``BlockStore/write(_:to:_:)``, and `.outOfRange`.
    func write(_ bytes: BufferSlice, at offset: UInt64, _ context: IOContext) async throws(BlockStoreError)

    /// Takes a write that needs nobody else, at once: without waiting, without a task, without another copy of the bytes.
    ///
    /// The twin of ``readNow(_:)`` for writes; never the only way to write.
    ///
    /// - Parameters:
    ///   - bytes: Read before this returns, and not kept.
    ///   - offset: Any; what is refused is refused by ``write(_:at:_:)``, which tells why.
    /// - Returns: True when the write is done, as if ``write(_:at:_:)`` had returned. False when that has to be asked, with the
    ///   same bytes: nobody has been told anything, but some of the blocks may have their new bytes already, as while a write runs.
    /// - Concurrency: takes no lock that is held over I/O.
    func writeNow(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool

    /// Makes `range` zeros: TRIM, hole punching and WRITE_ZEROES alike.
    ///
    /// - Throws: As ``BlockStore/zero(_:_:)``, and `.outOfRange`.
    func zero(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError)

    /// Makes durable what was acknowledged before this call began; see ``BlockStore/flush(_:)``.
    ///
    /// - Parameter range: What must be durable; nil means the whole disk.
    func flush(_ range: Range<UInt64>?) async throws(BlockStoreError)

    /// Makes durable what was acknowledged before this call began, without a task, if nobody but the local disk has to be waited for.
    ///
    /// - Returns: True when it is done, as if ``flush(_:)`` of everything had returned. False when that has to be asked, which also tells what
    ///   failed.
    /// - Concurrency: may block for local I/O; takes no lock that is held over requests to a store.
    func flushNow() -> Bool

    /// Tells data from zeros; see ``BlockStore/extents(in:)``.
    ///
    /// - Returns: Extents that cover `range` exactly, in order, neighbours of different kinds.
    func extents(in range: Range<UInt64>) async throws(BlockStoreError) -> [DiskExtent]
}

extension Disk {
    /// Flushes nothing.
    public func flushNow() -> Bool { false }

    /// Lends nothing.
    public func readNow(_ range: Range<UInt64>, lending reader: (RawSpan) -> Void) -> PromptRead<DiskBytes> {
        PromptRead(readNow(range))
    }
}

/// A run of bytes of a disk that is all data, or all zeros.
public struct DiskExtent: Hashable, Sendable {
    /// Which bytes; never empty.
    public let range: Range<UInt64>
    /// What they hold.
    public let kind: BlockExtent.Kind

    /// Describes `range`.
    public init(range: Range<UInt64>, kind: BlockExtent.Kind) {
        self.range = range
        self.kind = kind
    }
}
