// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc
internal import Synchronization

/// The cache's bytes in memory: one private mapping, in which a slot is `blockSize` bytes at its place.
///
/// A page takes memory only once a sector in it was written, and keeps it: the slots are used again and again, and fresh pages
/// would cost more than the copy itself. Nothing outlives the process, so there is nothing to commit, and no version to remember.
///
/// - Concurrency: as ``CacheStorage``. No lock: two calls that overlap only read.
public final class MemoryCacheStorage: CacheStorage, @unchecked Sendable {
    // Proof for @unchecked: `base`, `blockSize` and `slotCount` are constants, and the mapping lives as long as this object. A
    // call touches the bytes of its range only, and the rule of CacheStorage is that no other call touches one of these while
    // they are written; whoever calls next was told so by the caller's lock, which makes the bytes visible to it.
    private let base: UnsafeMutableRawPointer
    private let blockSize: Int
    private let writes = Atomic<UInt64>(0)

    /// How many slots there are.
    public let slotCount: Int

    /// Maps memory for `slotCount` blocks of `blockSize` bytes, without using any of it.
    ///
    /// - Throws: `.outOfMemory` when the system does not give as much.
    public init(slotCount: Int, blockSize: Int) throws(BlockStoreError) {
        precondition(slotCount >= 1 && blockSize >= 1, "a cache has at least one slot, a slot at least one byte")
        let (bytes, overflows) = slotCount.multipliedReportingOverflow(by: blockSize)
        // Source: mmap(2). Without MAP_NORESERVE the whole size would count against the system's memory from the start.
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let mapping = overflows ? Self.failed : mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard let mapping, mapping != Self.failed else {
            let cause = overflows ? "that is more than there can be" : String(cString: strerror(errno))
            throw BlockStoreError(
                .outOfMemory,
                "cannot take memory for a cache of \(slotCount) blocks of \(blockSize) bytes: \(cause); use a smaller --blockCacheSize"
            )
        }
        base = mapping
        self.blockSize = blockSize
        self.slotCount = slotCount
        // A system that makes huge pages unasked would spend 2 MiB on a sector. Measured, they gain less than a fifth for a copy of
        // 4 KiB at a random place, and first uses take longer. It is advice: refused or not, the bytes are the same.
        _ = madvise(mapping, bytes, MADV_NOHUGEPAGE)
    }

    deinit { munmap(base, slotCount * blockSize) }

    /// No: the bytes end with the process.
    public var isPersistent: Bool { false }

    /// No: a commit promises nothing.
    public var isTrusted: Bool { false }

    /// Nothing is ever left; see ``CacheStorage/restore()``.
    public func restore() throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet) { ([], BlockSet()) }

    /// Needs nothing: whoever reads knows which sectors were written. See ``CacheStorage/assign(_:to:)``.
    public func assign(_ slot: CacheSlot, to block: BlockNumber) throws(BlockStoreError) {}

    /// Copies from the mapping; never fails. See ``CacheStorage/read(_:of:in:into:)``.
    public func read(
        _ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, into target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) {
        precondition(target.count == range.count, "the target has room for just these bytes")
        target.copyMemory(from: UnsafeRawBufferPointer(bytes(range, slot)))
    }

    /// Shows the mapping; see ``CacheStorage/lend(_:of:in:to:)``.
    public func lend(_ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, to reader: (RawSpan) -> Void) -> Bool {
        // Proof: the mapping lives as long as this object, which the caller holds, and a span cannot leave the closure. Nobody writes
        // to these bytes meanwhile: that is the rule of CacheStorage, which the cache keeps by the ticket of the copy.
        reader(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(bytes(range, slot))))
        return true
    }

    /// Copies into the mapping; never fails and never waits. See ``CacheStorage/write(_:at:of:in:_:)``.
    public func write(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) {
        precondition(bytes.count == range.count, "there are as many bytes as their range says")
        self.bytes(range, slot).copyMemory(from: bytes)
        writes.add(1, ordering: .relaxed)
    }

    /// As ``write(_:at:of:in:_:)``; always true.
    public func writeNow(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> Bool {
        try write(bytes, at: range, of: block, in: slot, origin)
        return true
    }

    /// The number of writes; see ``CacheStorage/mark``.
    public var mark: CacheMark { CacheMark(rawValue: writes.load(ordering: .relaxed)) }

    /// Not remembered: who needs it after the process has ended? See ``CacheStorage/setVersion(_:of:in:upTo:)``.
    public func setVersion(
        _ version: BlockVersion, of block: BlockNumber, in slot: CacheSlot, upTo mark: CacheMark?
    ) throws(BlockStoreError) {}

    /// Always `.unknown`; see ``CacheStorage/version(of:in:)``.
    public func version(of block: BlockNumber, in slot: CacheSlot) -> BlockVersion { .unknown }

    /// Keeps the memory for the next block; see ``CacheStorage/release(_:of:wasDirty:)``.
    public func release(_ slot: CacheSlot, of block: BlockNumber, wasDirty: Bool) throws(BlockStoreError) {}

    /// Not recorded; see ``CacheStorage/recordZeros(_:)``.
    public func recordZeros(_ blocks: BlockSet) throws(BlockStoreError) {}

    /// Nothing was recorded; see ``CacheStorage/forgetZeros(_:upTo:)``.
    public func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError) {}

    /// Returns at once: there is no stable storage. See ``CacheStorage/commit()``.
    public func commit() async throws(BlockStoreError) {}

    /// What mmap(2) returns on failure; a cast in C, which Swift does not import.
    private static var failed: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: -1) }

    private func bytes(_ range: Range<Int>, _ slot: CacheSlot) -> UnsafeMutableRawBufferPointer {
        precondition(Int(slot.rawValue) < slotCount && range.upperBound <= blockSize && range.lowerBound >= 0, "no such bytes")
        return UnsafeMutableRawBufferPointer(
            start: base + Int(slot.rawValue) * blockSize + range.lowerBound, count: range.count)
    }
}
