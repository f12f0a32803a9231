// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import FUSE
internal import ObjectStores
internal import S3
internal import Volumes

/// The statistics file of a stack: asks its layers, and lets ``StatisticsReport`` write.
struct StackStatistics: StatisticsText {
    private let stack: Stack
    /// Nil in the local mode.
    private let client: S3Client?

    init(of stack: Stack, client: S3Client?) {
        self.stack = stack
        self.client = client
    }

    /// The figures of this moment.
    func text() -> String {
        let zero = stack.zeroMap.statistics
        return StatisticsReport(
            http: client.map { http($0.statistics) },
            cache: stack.cache?.statistics,
            zeroBlocks: .init(size: zero.size, readHits: zero.readHits, writeHits: zero.writeHits),
            writtenBlocks: stack.consistency.map { written($0.statistics) }
        ).text
    }

    /// Sets the counters of all layers back to zero; what is cached, and known of zeros and of
    /// written blocks, stays so.
    func reset() {
        stack.cache?.resetStatistics()
        stack.zeroMap.resetStatistics()
        stack.volume.blocks.resetStatistics()
        stack.retrying?.resetStatistics()
        stack.consistency?.resetStatistics()
        client?.resetStatistics()
    }

    /// All stale answers: those in which the store said so, and those that it gave as if they were good.
    static func stale(_ client: S3Statistics, _ consistency: ConsistencyStatistics) -> UInt64 {
        // Two snapshots, and each is reset for itself.
        client.stale + (consistency.staleAnswers - min(consistency.refusals, consistency.staleAnswers))
    }

    private func written(_ consistency: ConsistencyStatistics) -> StatisticsReport.WrittenBlocks {
        .init(
            size: UInt64(consistency.currentSize), dataHits: consistency.dataHits, fullDelays: consistency.fullDelays,
            writeDelays: consistency.writeDelays)
    }

    private func http(_ client: S3Statistics) -> StatisticsReport.HTTP {
        let blocks = stack.volume.blocks.statistics
        let retries = stack.retrying?.statistics ?? RetryStatistics()
        var http = StatisticsReport.HTTP()
        http.blocksRead = blocks.normalBlocksRead
        http.blocksWritten = blocks.normalBlocksWritten
        http.zeroBlocksRead = blocks.zeroBlocksRead
        http.zeroBlocksWritten = blocks.zeroBlocksWritten
        http.isSurveyed = stack.survey != nil
        http.verified = blocks.verified
        http.mismatch = blocks.mismatch
        http.gets = .init(count: client.gets.count, time: client.gets.time)
        http.puts = .init(count: client.puts.count, time: client.puts.time)
        http.deletes = .init(count: client.deletes.count, time: client.deletes.time)
        http.unauthorized = client.unauthorized
        http.forbidden = client.forbidden
        http.stale = Self.stale(client, stack.consistency?.statistics ?? ConsistencyStatistics())
        http.redirect = client.redirect
        http.serverErrors = client.error5xx
        http.clientErrors = client.error4xx
        http.otherRedirections = client.error3xx
        http.otherErrors = client.otherError
        http.canceledWrites = client.canceledWrites
        http.retries = retries.retries
        http.retryDelay = retries.retryDelay
        http.handlesCreated = client.handlesCreated
        http.handlesReused = client.handlesReused
        http.timeouts = client.timeouts
        http.connectFailed = client.connectFailed
        http.hostUnknown = client.hostUnknown
        http.outOfMemory = client.outOfMemory
        http.otherTransportErrors = client.otherTransportError
        return http
    }
}
