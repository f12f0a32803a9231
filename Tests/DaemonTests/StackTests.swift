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
        _ store: any ObjectStore, size: UInt64? = nil, isReadOnly: Bool = false, isChecked: Bool = true,
        consistency: ConsistencyLimits? = ConsistencyLimits(objectsMax: 100, keptFor: .seconds(10), minWriteDelay: .zero),
        timeline: ManualTimeline = ManualTimeline()
    ) async throws(VolumeError) -> Stack {
        let options = VolumeOptions(
            description: "memory", keys: BlockKeyScheme(prefix: "p/", isHashed: false), codec: .plain,
            sizes: ConfiguredSizes(blockSize: nil, diskSize: size), detectsSizes: true, isReadOnly: isReadOnly,
            isForced: false, usesMountToken: true, isAnonymous: false, hostName: "host",
            limits: SettlementLimits(attemptTimeout: .seconds(1)))
        return try await Stack.open(
            over: store,
            StackSettings(
                retry: RetryPolicy(initialPause: .milliseconds(1), totalPauseMax: .milliseconds(10)),
                consistency: consistency, verifiesBodies: true, limits: RequestLimits(requestsMax: 8, foregroundReserve: 2),
                cache: nil, surveyRequestsMax: nil, fanOutMax: 4,
                isChecked: isChecked),
            options, token: .random(), pool: pool, timeline: timeline, jitter: { 0 },
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

    @Test("what is remembered for ever must have room for every block; else the volume is left alone")
    func consistencyTooSmall() async throws {
        let store = MemoryObjectStore()
        let limits = { ConsistencyLimits(objectsMax: $0, keptFor: $1, minWriteDelay: .zero) }
        await #expect {
            _ = try await open(store, size: 1 << 20, consistency: limits(255, nil))
        } throws: { error in
            (error as? VolumeError)?.message
                == "cannot use \"--md5CacheSize=255\" without \"--md5CacheTime\": the volume has 256 blocks, and writes would wait "
                + "for ever once 255 are remembered; give a time, or a size of 256"
        }
        // No mount token was left.
        let stack = try await open(store, size: 1 << 20, consistency: limits(256, nil))
        try await stack.volume.shutDown(flushing: stack.disk)
        let timed = try await open(store, size: 1 << 20, consistency: limits(1, .seconds(1)))
        #expect(limits(257, nil).warning(timed.volume.geometry)?.contains("is more than the 256 blocks") == true)
        #expect(limits(256, nil).warning(timed.volume.geometry) == nil)
        let statistics = StackStatistics(of: timed, client: nil)
        #expect(statistics.text().contains("md5_cache_current_size       0 blocks\n"))
        statistics.reset()
        #expect(
            !StackStatistics(of: try await open(MemoryObjectStore(), size: 1 << 20, consistency: nil), client: nil)
                .text().contains("md5_cache"))
    }

    @Test("a volume that is mounted is not mounted again")
    func mountedTwice() async throws {
        let store = MemoryObjectStore()
        let first = try await open(store, size: 1 << 20)
        await #expect(throws: VolumeError.self) { try await open(store, size: 1 << 20) }
        try await first.volume.shutDown(flushing: first.disk)
        _ = try await open(store, size: 1 << 20)
    }

    @Test("a change that an outage has held up is not sent any more when the volume was taken over meanwhile")
    func takenOverDuringOutage() async throws {
        let memory = MemoryObjectStore()
        let timeline = ManualTimeline()
        let faulty = FaultyObjectStore(over: memory, plan: ObjectFaultPlan(), seed: 1, timeline: timeline)
        let stack = try await open(faulty, size: 1 << 20, timeline: timeline)
        let ours = BufferSlice(Buffer(copying: [UInt8](repeating: 1, count: 4096)))
        let theirs = BufferSlice(Buffer(copying: [UInt8](repeating: 2, count: 4096)))
        try await stack.disk.write(ours, at: 12_288, .foreground)
        var outage = ObjectFaultPlan()
        outage.refused = 1
        faulty.setPlan(outage)
        let result = try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 10_000) {
            () async throws -> Result<Void, BlockStoreError> in
            async let write = outcome { () async throws(BlockStoreError) in
                try await stack.disk.write(ours, at: 12_288, .foreground)
            }
            // On the manual clock: after the first attempt of the write, before its next.
            try await timeline.sleep(until: .milliseconds(2))
            let token = ObjectMetadata(user: ["s3backer-mount-token": "00000001"])
            _ = try await memory.put(ObjectKey("p/s3backer-mounted"), theirs, token, .none, .foreground)
            _ = try await memory.put(ObjectKey("p/00000003"), theirs, ObjectMetadata(), .none, .foreground)
            faulty.setPlan(ObjectFaultPlan())
            return await write
        }
        #expect(throws: BlockStoreError.self) { try result.get() }
        let found = try await memory.get(ObjectKey("p/00000003"), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = found else { return #expect(Bool(false)) }
        #expect(object.body.bytes.first == 2)
        await #expect { try await stack.disk.flush(nil) } throws: { ($0 as? BlockStoreError)?.code == .fenced }
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

    private func outcome(
        _ body: () async throws(BlockStoreError) -> Void
    ) async -> Result<Void, BlockStoreError> {
        do throws(BlockStoreError) {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }
}
