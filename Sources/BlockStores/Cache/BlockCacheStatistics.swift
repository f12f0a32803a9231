// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// What the block cache did since the start or the last reset, and what it holds now.
public struct BlockCacheStatistics: Equatable, Sendable {
    /// Blocks held now, in any state.
    public var currentSize: UInt64 = 0
    /// Blocks that were restored at the start.
    public var initialSize: UInt64 = 0
    /// How many blocks it can hold.
    public var slotCount: UInt64 = 0
    /// Blocks that the store does not have yet.
    public var dirtyCount: UInt64 = 0
    /// Blocks whose zeroing the store has not seen yet.
    public var pendingZeroCount: UInt64 = 0
    /// Parts of blocks that were read from the cache; each read counts once, as a hit or as a miss.
    public var readHits: UInt64 = 0
    /// Parts of blocks for which the store had to be asked.
    public var readMisses: UInt64 = 0
    /// Writes to blocks that were in the cache; each write counts once, as a hit or as a miss.
    public var writeHits: UInt64 = 0
    /// Writes to blocks that were not, and those that had to ask the store for the rest of a sector.
    public var writeMisses: UInt64 = 0
    /// Restored blocks that the store still had unchanged.
    public var verified: UInt64 = 0
    /// Restored blocks that had changed.
    public var mismatches: UInt64 = 0
    /// Blocks that were read ahead.
    public var readAheads: UInt64 = 0
    /// Blocks written back.
    public var uploads: UInt64 = 0
    /// Attempts to write back that failed; each is made again.
    public var failedUploads: UInt64 = 0
    /// Times a writer waited for room.
    public var writerWaits: UInt64 = 0
    /// How long reads from the cache took.
    public var readHitTimes = LatencyHistogram()
    /// How long reads took that asked the store.
    public var readMissTimes = LatencyHistogram()
    /// How long writing a block back took, from its start to the store's answer.
    public var uploadTimes = LatencyHistogram()
    /// How long flushes took.
    public var flushTimes = LatencyHistogram()

    /// All zeros.
    public init() {}
}
