// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

/// What the kill rig is run with: where dirty data is, and what an fsync waits for.
enum KillMode: String, Sendable, CaseIterable, CustomTestStringConvertible {
    /// Every write goes through to the store.
    case noCache = "no cache"
    /// The same, and the store is down when the daemon dies and comes back some time after its restart has begun.
    case noCacheInOutage = "no cache, store down at the kill"
    /// Dirty data is in memory, and fsync waits for the store.
    case memory = "memory cache"
    /// Dirty data is in a cache file, and fsync waits for the store all the same.
    case remoteFlush = "cache file, flush=remote"
    /// Dirty data is in a cache file, and fsync waits for that only.
    case localFlush = "cache file, flush=local"
    /// The same, and the store is down when the daemon dies and comes back some time after its restart has begun.
    case localFlushInOutage = "cache file, flush=local, store down at the kill"

    /// Its name.
    var testDescription: String { rawValue }

    /// Whether it has a cache file, so that a restart must need no word from anybody.
    var hasCacheFile: Bool {
        switch self {
        case .noCache, .noCacheInOutage, .memory: false
        case .remoteFlush, .localFlush, .localFlushInOutage: true
        }
    }

    /// Whether the store goes down before each kill. The store is then a gateway behind a proxy, else a directory: that is quicker, and
    /// nothing can still be on its way to it when the daemon is dead.
    var hasOutage: Bool { self == .localFlushInOutage || self == .noCacheInOutage }

    /// Whether every write goes through to the store.
    var isCached: Bool { self != .noCache && self != .noCacheInOutage }

    /// How many blocks of 64 KiB the disk has: fewer in a bucket, where it takes longer to read them all.
    var blockCount: Int { hasOutage ? 256 : 1024 }

    /// The numbers of blocks that the cache is tried with: all blocks fit, or a quarter of them.
    var cacheSizes: [Int] { isCached ? [blockCount, blockCount / 4] : [0] }

    /// The options of a mount.
    func options(cacheBlocks: Int, cacheFile: String) -> [String] {
        let file = hasCacheFile ? ["--blockCacheFile=\(cacheFile)"] : []
        let flush =
            switch self {
            case .noCache, .noCacheInOutage, .memory: [String]()
            case .remoteFlush: ["--flush=remote"]
            case .localFlush, .localFlushInOutage: ["--flush=local"]
            }
        return ["--blockCacheSize=\(cacheBlocks)"] + file + flush
    }
}
