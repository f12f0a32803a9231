// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A place for the bytes of one block in the cache, counted from 0.
public struct CacheSlot: RawRepresentable, Hashable, Sendable {
    /// The number.
    public let rawValue: UInt32
    /// Names a slot.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// A moment in the life of a storage: everything written to it before has a smaller or equal mark.
public struct CacheMark: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number of writes so far.
    public let rawValue: UInt64
    /// Names a moment.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Earlier is less.
    public static func < (left: CacheMark, right: CacheMark) -> Bool { left.rawValue < right.rawValue }
}

/// Where bytes that are written to the cache come from.
public enum CacheOrigin: Sendable {
    /// A write: the store does not have them yet.
    case user
    /// The store has them; the version is told by ``CacheStorage/setVersion(_:of:in:upTo:)``.
    case store
}

/// A block that an earlier run left in a persistent storage.
public struct RestoredBlock: Sendable {
    /// Which block.
    public let block: BlockNumber
    /// Where its bytes are.
    public let slot: CacheSlot
    /// The sectors with good bytes, dirty ones included; bit 0 of word 0 is the first sector.
    public let valid: [UInt64]
    /// Those of `valid` that the store does not have.
    public let dirty: [UInt64]
    /// Whether the sectors that are not valid are zeros, since the block was zeroed before it was written.
    public let isZeroElsewhere: Bool

    /// Describes a block.
    public init(block: BlockNumber, slot: CacheSlot, valid: [UInt64], dirty: [UInt64], isZeroElsewhere: Bool) {
        self.block = block
        self.slot = slot
        self.valid = valid
        self.dirty = dirty
        self.isZeroElsewhere = isZeroElsewhere
    }
}

/// Where the cache keeps bytes: memory, or a file that outlives the process. It decides nothing; ``BlockCache`` does.
///
/// A slot belongs to one block at a time. Ranges are bytes of the block; a write covers whole sectors of
/// `min(4096, blockSize)` bytes, a read any part of sectors that were written since ``assign(_:to:)``.
///
/// **Persistence.** With ``isPersistent``, every write is recorded in a way that survives a crash once ``commit()`` has returned,
/// and what a completed commit has recorded as the user's (``CacheOrigin/user``) is never damaged by a later write: the newer
/// version goes elsewhere until it is committed itself. The cache keeps some rules in return:
/// - It commits before it sends a block or a zeroing to the store, so that **the storage is never behind the store**.
/// - It gives a slot that held dirty bytes to another block only after a commit that follows its release. A slot that is clean it may
///   assign to another block without a release, but only after a commit that follows the upload.
/// - A block has one slot at a time: it gets another only after its slot was released, or assigned to another block. A slot whose
///   block is zeroed is released after ``recordZeros(_:)``, and before the zeros are forgotten.
/// - A mark covers the writes that had returned when it was read.
///
/// - Concurrency: calls for different sectors run at once, from any thread; two calls overlap in a sector only if both read. Calls
///   may block for local I/O.
/// - Source: Docs/Formats/CacheFile.md.
public protocol CacheStorage: Sendable {
    /// How many slots there are.
    var slotCount: Int { get }

    /// Whether the bytes outlive the process.
    var isPersistent: Bool { get }

    /// Whether a completed ``commit()`` still is a promise; false for memory, and for good after a failed fdatasync(2).
    var isTrusted: Bool { get }

    /// What an earlier run left here, and the blocks whose zeroing the store may not have seen; asked once, before anything else.
    ///
    /// - Throws: `.io` when the storage cannot be read.
    func restore() throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet)

    /// `slot` belongs to `block` from now on; none of its sectors holds anything.
    ///
    /// - Throws: `.io` or `.noSpace` from the local disk; then the slot is as it was.
    func assign(_ slot: CacheSlot, to block: BlockNumber) throws(BlockStoreError)

    /// Copies the bytes `range` of `block` to `target`, which has as many.
    ///
    /// - Throws: `.corrupt` when a sector fails its check, `.io` from the local disk.
    func read(
        _ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, into target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError)

    /// Shows the bytes `range` of `block` to `reader` where they are, if they are in memory and need no check.
    ///
    /// - Parameter reader: Called before this returns, or not at all.
    /// - Returns: Whether it was called.
    func lend(_ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, to reader: (RawSpan) -> Void) -> Bool

    /// Keeps `bytes` as the sectors `range` of `block`.
    ///
    /// - Throws: `.io` or `.noSpace` from the local disk; then these sectors hold their old bytes, or fail their check; those that
    ///   the store does not have may hold the new ones.
    func write(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) async throws(BlockStoreError)

    /// As ``write(_:at:of:in:_:)``, for a caller that cannot wait.
    ///
    /// - Returns: False when that would have to wait for other work of the storage; then nothing was changed.
    func writeNow(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> Bool

    /// The mark of the last write so far.
    var mark: CacheMark { get }

    /// Records that the store has `block` in the version `version`, as far as its sectors were written up to `mark`, whatever their
    /// origin. What the user wrote after `mark` stays dirty; what came from the store after it is lost in a crash. Nothing that was clean becomes dirty by a
    /// lower mark. The slot belongs to the block until this has returned.
    ///
    /// - Parameter mark: Nil leaves everything dirty that the user wrote and that is dirty yet: the block was only fetched.
    /// - Throws: `.io` from the local disk; the sectors then stay dirty there, which costs an upload after a crash.
    func setVersion(
        _ version: BlockVersion, of block: BlockNumber, in slot: CacheSlot, upTo mark: CacheMark?
    ) throws(BlockStoreError)

    /// The version recorded last for `block`; `.unknown` when none is, or it cannot be read.
    func version(of block: BlockNumber, in slot: CacheSlot) -> BlockVersion

    /// `slot` holds nothing any more. If it held dirty bytes, that is recorded: they must not come back at the next start.
    ///
    /// - Parameter wasDirty: Whether some sector was not in the store, because the block was zeroed meanwhile.
    /// - Throws: `.io` from the local disk.
    func release(_ slot: CacheSlot, of block: BlockNumber, wasDirty: Bool) throws(BlockStoreError)

    /// Records that `blocks` are zeros from now on, though the store may not have seen it.
    ///
    /// - Throws: `.io` or `.noSpace` from the local disk.
    func recordZeros(_ blocks: BlockSet) throws(BlockStoreError)

    /// The store has seen what was recorded of `blocks` by ``recordZeros(_:)`` up to `mark`, or has them as they were written
    /// afterwards. What was recorded later stays.
    ///
    /// - Throws: `.io` from the local disk; the blocks are then zeroed once more after a crash, unless written since.
    func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError)

    /// Returns when every call that had returned before this one began is on stable storage. Calls share the work.
    ///
    /// - Throws: `.io` when that failed; ``isTrusted`` is false from then on.
    func commit() async throws(BlockStoreError)

    /// As ``commit()``, for a caller that cannot wait for others; the local disk it waits for.
    ///
    /// - Returns: False when that would have to wait for other work of the storage, or when nothing can be promised any more; then
    ///   ``commit()`` has to be asked.
    /// - Throws: As ``commit()``.
    func commitNow() throws(BlockStoreError) -> Bool
}

extension CacheStorage {
    /// Lends nothing.
    public func lend(_ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, to reader: (RawSpan) -> Void) -> Bool {
        false
    }

    /// Commits nothing.
    public func commitNow() throws(BlockStoreError) -> Bool { false }
}
