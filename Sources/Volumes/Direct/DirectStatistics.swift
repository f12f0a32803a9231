// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// What ``DirectVolume`` has done, in blocks; the lines `http_normal_blocks_read` to `http_mismatch` of the statistics file.
public struct DirectStatistics: Hashable, Sendable {
    /// Reads that returned an object.
    public var normalBlocksRead: UInt64 = 0
    /// Objects written.
    public var normalBlocksWritten: UInt64 = 0
    /// Reads that found no object.
    public var zeroBlocksRead: UInt64 = 0
    /// Blocks zeroed.
    public var zeroBlocksWritten: UInt64 = 0
    /// Reads for which the version that the caller knew was still right.
    public var verified: UInt64 = 0
    /// Reads for which it was not.
    public var mismatch: UInt64 = 0
    /// Blocks found overwritten by a late attempt of an older request, and put right.
    public var mended: UInt64 = 0

    /// Nothing done yet.
    public init() {}
}

/// The counters behind ``DirectStatistics``.
///
/// - Concurrency: safe from anywhere. A snapshot is of one moment.
final class DirectCounters: Sendable {
    private let counts = Mutex(DirectStatistics())

    /// What was counted up to now.
    var snapshot: DirectStatistics { counts.withLock { $0 } }

    /// Sets all to zero.
    func reset() { counts.withLock { $0 = DirectStatistics() } }

    /// Adds to one of them.
    func add(_ count: Int = 1, to counter: any WritableKeyPath<DirectStatistics, UInt64> & Sendable) {
        counts.withLock { $0[keyPath: counter] += UInt64(count) }
    }
}
