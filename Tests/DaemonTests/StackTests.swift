// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Logging
import ObjectStores
import StoreTesting
import Testing
import Volumes

@testable import Daemon

@Suite("The stack")
struct StackTests {
    private let pool = BufferPool(retainedBytesMax: 1 << 20)

    private func open(
        _ store: any ObjectStore, size: UInt64? = nil, isReadOnly: Bool = false, isChecked: Bool = true
    ) async throws(VolumeError) -> Stack {
        let options = VolumeOptions(
            description: "memory", keys: BlockKeyScheme(prefix: "p/", isHashed: false),
            sizes: ConfiguredSizes(blockSize: nil, diskSize: size), detectsSizes: true, isReadOnly: isReadOnly,
            isForced: false, usesMountToken: true, isAnonymous: false, hostName: "host",
            limits: SettlementLimits(attemptTimeout: .seconds(1)))
        return try await Stack.open(
            over: store,
            StackSettings(
                retry: RetryPolicy(initialPause: .milliseconds(1), totalPauseMax: .milliseconds(10)),
                limits: RequestLimits(requestsMax: 8, foregroundReserve: 2), fanOutMax: 4, isChecked: isChecked),
            options, token: .random(), pool: pool, timeline: ManualTimeline(), jitter: { 0 },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test("what was written is there after a shutdown and a start without sizes", arguments: [false, true])
    func remount(isChecked: Bool) async throws {
        let store = MemoryObjectStore()
        let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 % 251) }
        let first = try await open(store, size: 1 << 20, isChecked: isChecked)
        try await first.disk.write(BufferSlice(Buffer(copying: bytes)), at: 5000, .foreground)
        try await first.volume.shutDown(flushing: first.disk)
        let second = try await open(store, isReadOnly: true, isChecked: isChecked)
        #expect(second.disk.sizeBytes == 1 << 20)
        let read = try await second.disk.read(5000..<25_000, .foreground)
        #expect(Array(read.bytes) == bytes)
        await #expect(throws: BlockStoreError.self) { try await second.disk.zero(0..<4096, .foreground) }
    }

    @Test("a volume that is mounted is not mounted again")
    func mountedTwice() async throws {
        let store = MemoryObjectStore()
        let first = try await open(store, size: 1 << 20)
        await #expect(throws: VolumeError.self) { try await open(store, size: 1 << 20) }
        try await first.volume.shutDown(flushing: first.disk)
        _ = try await open(store, size: 1 << 20)
    }

    @Test("a size is needed as long as nothing was written")
    func sizeIsNeeded() async {
        await #expect(throws: VolumeError.self) { try await open(MemoryObjectStore()) }
    }

    @Test("the statistics show what the layers did, and start anew when they are reset")
    func statistics() async throws {
        let stack = try await open(MemoryObjectStore(), size: 1 << 20)
        let statistics = StackStatistics(of: stack, client: nil)
        for _ in 0..<2 { _ = try await stack.disk.read(8192..<12_288, .foreground) }
        #expect(statistics.text().contains("zero_block_cache_size        1 blocks\nzero_block_cache_read_hits   1\n"))
        statistics.reset()
        #expect(statistics.text().contains("zero_block_cache_size        1 blocks\nzero_block_cache_read_hits   0\n"))
    }
}
