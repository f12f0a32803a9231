// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores

/// The text of the statistics file, made from the figures of the layers that the stack has.
///
/// Names, order and form are those of the C program, which scripts read: a name in 28 columns, a blank, a value. A section
/// stands there only if its layer exists; in the local mode there are no http_ and no curl_ lines. What the C program has not
/// stands before the last line.
struct StatisticsReport: Equatable {
    /// What happened at the store.
    struct HTTP: Equatable {
        /// GETs that returned a valid block.
        var blocksRead: UInt64 = 0
        /// PUTs of blocks that succeeded.
        var blocksWritten: UInt64 = 0
        /// GETs of blocks that do not exist.
        var zeroBlocksRead: UInt64 = 0
        /// Blocks that were deleted.
        var zeroBlocksWritten: UInt64 = 0
        /// Whether the volume is surveyed. Then the C program has two lines more; like its version 2.1.6, this program writes 0.
        var isSurveyed = false
        /// GETs, PUTs and DELETEs of any kind that succeeded, and the time they took together.
        var gets = Requests()
        /// See ``gets``.
        var puts = Requests()
        /// See ``gets``.
        var deletes = Requests()
        /// Answers 401.
        var unauthorized: UInt64 = 0
        /// Answers 403.
        var forbidden: UInt64 = 0
        /// Answers 412.
        var stale: UInt64 = 0
        /// Answers 301, 302, 307 and 308.
        var redirect: UInt64 = 0
        /// Conditional GETs that said "unchanged".
        var verified: UInt64 = 0
        /// Conditional GETs that said "changed".
        var mismatch: UInt64 = 0
        /// Answers 5xx.
        var serverErrors: UInt64 = 0
        /// Other answers 4xx.
        var clientErrors: UInt64 = 0
        /// Other answers 3xx.
        var otherRedirections: UInt64 = 0
        /// Answers that make no sense.
        var otherErrors: UInt64 = 0
        /// Uploads that were broken off.
        var canceledWrites: UInt64 = 0
        /// Attempts after the first one.
        var retries: UInt64 = 0
        /// The sum of the pauses before them.
        var retryDelay = Duration.zero
        /// Transfers that needed a new handle.
        var handlesCreated: UInt64 = 0
        /// Transfers that took a handle of an earlier one.
        var handlesReused: UInt64 = 0
        /// Attempts that ended at a time limit.
        var timeouts: UInt64 = 0
        /// Connections that could not be made.
        var connectFailed: UInt64 = 0
        /// Host names that could not be resolved.
        var hostUnknown: UInt64 = 0
        /// Attempts that failed for want of memory.
        var outOfMemory: UInt64 = 0
        /// Attempts that failed in another way.
        var otherTransportErrors: UInt64 = 0
    }

    /// Requests of one kind.
    struct Requests: Equatable {
        /// How many succeeded.
        var count: UInt64 = 0
        /// The time they took together.
        var time = Duration.zero

        /// The mean; zero when there was none.
        var averageTime: Duration { count == 0 ? .zero : time / Double(count) }
    }

    /// What is known of zeros.
    struct ZeroBlocks: Equatable {
        /// Blocks that are known to be zero.
        var size: UInt64 = 0
        /// Reads that needed no request.
        var readHits: UInt64 = 0
        /// Writes of zeros that needed no request.
        var writeHits: UInt64 = 0
    }

    /// What is remembered of written blocks.
    struct WrittenBlocks: Equatable {
        /// Blocks that are remembered.
        var size: UInt64 = 0
        /// Requests that needed no answer of the store.
        var dataHits: UInt64 = 0
        /// How long writes have waited for room.
        var fullDelays = Duration.zero
        /// How long writes have waited because the last one of the same block was too recent.
        var writeDelays = Duration.zero
    }

    /// What happened at the store; nil in the local mode.
    var http: HTTP?
    /// What the block cache did; nil without one.
    var cache: BlockCacheStatistics?
    /// What is known of zeros; nil when nothing keeps that.
    var zeroBlocks: ZeroBlocks?
    /// What is remembered of written blocks; nil without `--md5CacheSize`.
    var writtenBlocks: WrittenBlocks?

    /// The whole text.
    var text: String {
        var lines: [String] = []
        if let http { lines += Self.requestLines(http) + Self.answerLines(http) + Self.transportLines(http) }
        if let cache { lines += Self.lines(cache) }
        if let zeroBlocks { lines += Self.lines(zeroBlocks) }
        if cache != nil { lines += Self.lowerZeroLines }
        if let writtenBlocks { lines += Self.lines(writtenBlocks) }
        if let cache { lines += Self.furtherLines(cache) }
        lines.append(Self.line("out_of_memory_errors", "\(http?.outOfMemory ?? 0)"))
        return lines.joined()
    }

    private static func requestLines(_ http: HTTP) -> [String] {
        [
            line("http_normal_blocks_read", "\(http.blocksRead)"),
            line("http_normal_blocks_written", "\(http.blocksWritten)"),
            line("http_zero_blocks_read", "\(http.zeroBlocksRead)"),
            line("http_zero_blocks_written", "\(http.zeroBlocksWritten)"),
        ] + (http.isSurveyed ? [line("http_empty_blocks_read", "0"), line("http_empty_blocks_written", "0")] : []) + [
            line("http_gets", "\(http.gets.count)"),
            line("http_puts", "\(http.puts.count)"),
            line("http_deletes", "\(http.deletes.count)"),
            line("http_avg_get_time", seconds(http.gets.averageTime)),
            line("http_avg_put_time", seconds(http.puts.averageTime)),
            line("http_avg_delete_time", seconds(http.deletes.averageTime)),
        ]
    }

    private static func answerLines(_ http: HTTP) -> [String] {
        [
            line("http_unauthorized", "\(http.unauthorized)"),
            line("http_forbidden", "\(http.forbidden)"),
            line("http_stale", "\(http.stale)"),
            line("http_redirect", "\(http.redirect)"),
            line("http_verified", "\(http.verified)"),
            line("http_mismatch", "\(http.mismatch)"),
            line("http_5xx_error", "\(http.serverErrors)"),
            line("http_4xx_error", "\(http.clientErrors)"),
            line("http_3xx_error", "\(http.otherRedirections)"),
            line("http_other_error", "\(http.otherErrors)"),
            line("http_canceled_writes", "\(http.canceledWrites)"),
            line("http_num_retries", "\(http.retries)"),
            line("http_total_retry_delay", seconds(http.retryDelay)),
        ]
    }

    private static func transportLines(_ http: HTTP) -> [String] {
        let handles = http.handlesCreated + http.handlesReused
        let ratio = handles == 0 ? 0 : Double(http.handlesReused) / Double(handles)
        return [
            line("curl_handle_reuse_ratio", decimal(ratio, places: 4)),
            line("curl_timeouts", "\(http.timeouts)"),
            line("curl_connect_failed", "\(http.connectFailed)"),
            line("curl_host_unknown", "\(http.hostUnknown)"),
            line("curl_out_of_memory", "\(http.outOfMemory)"),
            line("curl_other_error", "\(http.otherTransportErrors)"),
        ]
    }

    private static func lines(_ zero: ZeroBlocks) -> [String] {
        [
            line("zero_block_cache_size", "\(zero.size) blocks"),
            line("zero_block_cache_read_hits", "\(zero.readHits)"),
            line("zero_block_cache_write_hits", "\(zero.writeHits)"),
        ]
    }

    private static func lines(_ written: WrittenBlocks) -> [String] {
        [
            line("md5_cache_current_size", "\(written.size) blocks"),
            line("md5_cache_data_hits", "\(written.dataHits)"),
            line("md5_cache_full_delays", seconds(written.fullDelays)),
            line("md5_cache_write_delays", seconds(written.writeDelays)),
        ]
    }

    /// `printf("%-28s %s\n")`.
    static func line(_ name: String, _ value: String) -> String {
        name + String(repeating: " ", count: max(0, 28 - name.utf8.count)) + " " + value + "\n"
    }

    /// `printf("%.3f sec")`.
    static func seconds(_ duration: Duration) -> String { decimal(duration / .seconds(1), places: 3) + " sec" }

    /// `printf("%.Nf")` of a number that is not negative.
    static func decimal(_ number: Double, places: Int) -> String {
        var unit: UInt64 = 1
        for _ in 0..<places { unit *= 10 }
        let scaled = UInt64((max(0, number) * Double(unit)).rounded())
        let fraction = String(scaled % unit)
        return "\(scaled / unit)." + String(repeating: "0", count: places - fraction.count) + fraction
    }
}
