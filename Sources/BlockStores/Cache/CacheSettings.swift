// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How the block cache behaves.
public struct CacheSettings: Equatable, Sendable {
    /// When `flush` is content.
    public enum FlushMode: String, Sendable, CaseIterable {
        /// When the data is in the store.
        case remote
        /// When the data is on the local disk, from which the next start recovers it.
        case local
    }

    /// How many blocks the cache holds; at least 1. A persistent storage brings its own number.
    public var slotCount: Int
    /// How many blocks are written back at once.
    public var uploadsMax = 80
    /// How long a block stays dirty before it is written back, so that further writes to it cost nothing.
    public var writeDelay = Duration.milliseconds(250)
    /// How long a clean block is kept after its last use; nil is for ever.
    public var keptFor: Duration?
    /// How many blocks may be dirty before writers wait; nil is as many as the cache holds.
    public var dirtyMax: Int?
    /// Whether each write waits until its block is in the store.
    public var isSynchronous = false
    /// The blocks below this number are evicted only when no other clean block is left.
    public var protectedCount = 0
    /// How many blocks a sequential stream is read ahead at most; 0 reads nothing ahead.
    public var readAheadMax = 0
    /// After how many blocks in order a stream counts as sequential.
    public var readAheadTrigger = 2
    /// When `flush` is content.
    public var flushMode = FlushMode.remote
    /// How long a flush waits for a store that does not take the data; nil is without end.
    public var flushTimeout: Duration?
    /// Whether blocks of an earlier run are compared with the store before their first use.
    public var verifiesRestored = true

    /// Settings with the defaults above.
    public init(slotCount: Int) { self.slotCount = slotCount }
}
