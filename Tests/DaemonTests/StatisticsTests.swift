// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import S3
import Testing

@testable import Daemon

@Suite("The text of the statistics file")
struct StatisticsTests {
    @Test("http_stale counts the store's 412s and the stale answers that were none, each once")
    func stale() {
        var client = S3Statistics()
        client.stale = 5
        var consistency = ConsistencyStatistics()
        #expect(StackStatistics.stale(client, consistency) == 5)
        consistency.staleAnswers = 7
        consistency.refusals = 4
        #expect(StackStatistics.stale(client, consistency) == 8)
    }

    @Test("a surveyed volume has the two lines of the C program more")
    func surveyed() {
        var http = StatisticsReport.HTTP()
        let plain = StatisticsReport(http: http).text
        http.isSurveyed = true
        let lines = "http_empty_blocks_read       0\nhttp_empty_blocks_written    0\n"
        let place = "http_zero_blocks_written     0\n"
        #expect(StatisticsReport(http: http).text == plain.replacing(place, with: place + lines))
    }

    @Test("it has the names, the order and the form of the C program")
    func golden() {
        var http = StatisticsReport.HTTP()
        http.blocksWritten = 3
        http.zeroBlocksRead = 1
        http.puts = .init(count: 4, time: .milliseconds(20))
        http.handlesCreated = 2
        http.handlesReused = 4
        http.retryDelay = .milliseconds(1500)
        let report = StatisticsReport(http: http, zeroBlocks: .init(size: 12, readHits: 5, writeHits: 6))
        #expect(
            report.text == """
                http_normal_blocks_read      0
                http_normal_blocks_written   3
                http_zero_blocks_read        1
                http_zero_blocks_written     0
                http_gets                    0
                http_puts                    4
                http_deletes                 0
                http_avg_get_time            0.000 sec
                http_avg_put_time            0.005 sec
                http_avg_delete_time         0.000 sec
                http_unauthorized            0
                http_forbidden               0
                http_stale                   0
                http_redirect                0
                http_verified                0
                http_mismatch                0
                http_5xx_error               0
                http_4xx_error               0
                http_3xx_error               0
                http_other_error             0
                http_canceled_writes         0
                http_num_retries             0
                http_total_retry_delay       1.500 sec
                curl_handle_reuse_ratio      0.6667
                curl_timeouts                0
                curl_connect_failed          0
                curl_host_unknown            0
                curl_out_of_memory           0
                curl_other_error             0
                zero_block_cache_size        12 blocks
                zero_block_cache_read_hits   5
                zero_block_cache_write_hits  6
                out_of_memory_errors         0

                """)
    }

    @Test("what is remembered of written blocks stands before the last line")
    func writtenBlocks() {
        let report = StatisticsReport(
            zeroBlocks: .init(size: 1, readHits: 2, writeHits: 3),
            writtenBlocks: .init(
                size: 7, dataHits: 8, fullDelays: .milliseconds(250), writeDelays: .milliseconds(1500)))
        #expect(
            report.text == """
                zero_block_cache_size        1 blocks
                zero_block_cache_read_hits   2
                zero_block_cache_write_hits  3
                md5_cache_current_size       7 blocks
                md5_cache_data_hits          8
                md5_cache_full_delays        0.250 sec
                md5_cache_write_delays       1.500 sec
                out_of_memory_errors         0

                """)
    }

    @Test("the block cache stands where the C program has it, and what that has not stands before the last line")
    func cache() {
        var cache = BlockCacheStatistics()
        cache.currentSize = 3
        cache.initialSize = 2
        cache.slotCount = 8
        cache.dirtyCount = 1
        cache.pendingZeroCount = 4
        cache.readHits = 1
        cache.readMisses = 2
        cache.writeHits = 3
        cache.writeMisses = 1
        cache.verified = 5
        cache.mismatches = 6
        cache.readAheads = 7
        cache.uploads = 8
        cache.failedUploads = 9
        cache.writerWaits = 10
        for _ in 0..<99 { cache.readHitTimes.add(.microseconds(3)) }
        cache.readHitTimes.add(.milliseconds(2))
        cache.uploadTimes.add(.milliseconds(1500))
        let report = StatisticsReport(
            cache: cache, zeroBlocks: .init(size: 12, readHits: 5, writeHits: 6),
            writtenBlocks: .init(size: 7, dataHits: 8, fullDelays: .zero, writeDelays: .zero))
        #expect(
            report.text == """
                block_cache_current_size     3 blocks
                block_cache_initial_size     2 blocks
                block_cache_dirty_ratio      0.12500000
                block_cache_read_hits        1
                block_cache_read_misses      2
                block_cache_read_hit_ratio   0.33333333
                block_cache_write_hits       3
                block_cache_write_misses     1
                block_cache_write_hit_ratio  0.75000000
                block_cache_verified         5
                block_cache_mismatch         6
                zero_block_cache_size        12 blocks
                zero_block_cache_read_hits   5
                zero_block_cache_write_hits  6
                lower_zero_block_cache_size  0 blocks
                lower_zero_block_cache_read_hits 0
                lower_zero_block_cache_write_hits 0
                md5_cache_current_size       7 blocks
                md5_cache_data_hits          8
                md5_cache_full_delays        0.000 sec
                md5_cache_write_delays       0.000 sec
                block_cache_capacity         8 blocks
                block_cache_dirty            1 blocks
                block_cache_pending_zeros    4 blocks
                block_cache_read_aheads      7
                block_cache_uploads          8
                block_cache_failed_uploads   9
                block_cache_write_waits      10
                block_cache_read_hit_time_count 100
                block_cache_read_hit_time_mean 0.000023 sec
                block_cache_read_hit_time_p50 0.000004 sec
                block_cache_read_hit_time_p99 0.000004 sec
                block_cache_read_hit_time_max 0.002000 sec
                block_cache_read_miss_time_count 0
                block_cache_read_miss_time_mean 0.000000 sec
                block_cache_read_miss_time_p50 0.000000 sec
                block_cache_read_miss_time_p99 0.000000 sec
                block_cache_read_miss_time_max 0.000000 sec
                block_cache_upload_time_count 1
                block_cache_upload_time_mean 1.500000 sec
                block_cache_upload_time_p50  1.500000 sec
                block_cache_upload_time_p99  1.500000 sec
                block_cache_upload_time_max  1.500000 sec
                block_cache_flush_time_count 0
                block_cache_flush_time_mean  0.000000 sec
                block_cache_flush_time_p50   0.000000 sec
                block_cache_flush_time_p99   0.000000 sec
                block_cache_flush_time_max   0.000000 sec
                out_of_memory_errors         0

                """)
    }

    @Test("a section stands there only if its layer exists")
    func sections() {
        #expect(StatisticsReport().text == "out_of_memory_errors         0\n")
        #expect(StatisticsReport(zeroBlocks: .init()).text.hasPrefix("zero_block_cache_size        0 blocks\n"))
    }

    @Test(
        "numbers are rounded as printf rounds",
        arguments: [
            (0, 4, "0.0000"), (0.99995, 4, "1.0000"), (2.0 / 3, 4, "0.6667"), (1.0004, 3, "1.000"), (12.5, 3, "12.500"),
            (0.042, 3, "0.042"),
        ] as [(Double, Int, String)])
    func decimals(number: Double, places: Int, text: String) {
        #expect(StatisticsReport.decimal(number, places: places) == text)
    }

    @Test("a name longer than its column overflows by a blank")
    func longNames() {
        #expect(StatisticsReport.line("lower_zero_block_cache_read_hits", "0") == "lower_zero_block_cache_read_hits 0\n")
    }
}
