// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath

/// The lines of the block cache: those of the C program in their place, and those that it has not at the end, so that whoever reads
/// by position finds what it always found.
extension StatisticsReport {
    /// The lines of the C program.
    static func lines(_ cache: BlockCacheStatistics) -> [String] {
        [
            line("block_cache_current_size", "\(cache.currentSize) blocks"),
            line("block_cache_initial_size", "\(cache.initialSize) blocks"),
            line("block_cache_dirty_ratio", ratio(cache.dirtyCount, of: cache.slotCount)),
            line("block_cache_read_hits", "\(cache.readHits)"),
            line("block_cache_read_misses", "\(cache.readMisses)"),
            line("block_cache_read_hit_ratio", ratio(cache.readHits, of: cache.readHits + cache.readMisses)),
            line("block_cache_write_hits", "\(cache.writeHits)"),
            line("block_cache_write_misses", "\(cache.writeMisses)"),
            line("block_cache_write_hit_ratio", ratio(cache.writeHits, of: cache.writeHits + cache.writeMisses)),
            line("block_cache_verified", "\(cache.verified)"),
            line("block_cache_mismatch", "\(cache.mismatches)"),
        ]
    }

    /// What the C program's lower cache of zeros would show: there is one layer that knows zeros, and its lines stand above.
    static let lowerZeroLines = [
        line("lower_zero_block_cache_size", "0 blocks"), line("lower_zero_block_cache_read_hits", "0"),
        line("lower_zero_block_cache_write_hits", "0"),
    ]

    /// The lines that the C program has not.
    static func furtherLines(_ cache: BlockCacheStatistics) -> [String] {
        [
            line("block_cache_capacity", "\(cache.slotCount) blocks"),
            line("block_cache_dirty", "\(cache.dirtyCount) blocks"),
            line("block_cache_pending_zeros", "\(cache.pendingZeroCount) blocks"),
            line("block_cache_read_aheads", "\(cache.readAheads)"),
            line("block_cache_uploads", "\(cache.uploads)"),
            line("block_cache_failed_uploads", "\(cache.failedUploads)"),
            line("block_cache_write_waits", "\(cache.writerWaits)"),
        ] + lines("block_cache_read_hit_time", cache.readHitTimes) + lines("block_cache_read_miss_time", cache.readMissTimes)
            + lines("block_cache_upload_time", cache.uploadTimes) + lines("block_cache_flush_time", cache.flushTimes)
    }

    private static func lines(_ name: String, _ times: LatencyHistogram) -> [String] {
        [
            line("\(name)_count", "\(times.count)"),
            line("\(name)_mean", microseconds(times.mean)),
            line("\(name)_p50", microseconds(times.percentile(0.5))),
            line("\(name)_p99", microseconds(times.percentile(0.99))),
            line("\(name)_max", microseconds(times.maximum)),
        ]
    }

    /// `printf("%.6f sec")`: a hit takes microseconds.
    private static func microseconds(_ duration: Duration) -> String { decimal(duration / .seconds(1), places: 6) + " sec" }

    /// `printf("%.8f")`; 0 of nothing.
    private static func ratio(_ part: UInt64, of whole: UInt64) -> String {
        decimal(whole == 0 ? 0 : Double(part) / Double(whole), places: 8)
    }
}
