// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Volumes

@Suite("A volume, from opening to shutting down")
struct VolumeTests {
    private let store = ScriptedObjectStore()
    private let timeline = ManualTimeline()
    private let ours = MountToken(rawValue: 7)

    private func options(size: UInt64? = 1 << 20, _ change: (inout VolumeOptions) -> Void = { _ in }) -> VolumeOptions {
        var options = VolumeOptions(
            description: "bucket \"b/vm\"", keys: BlockKeyScheme(prefix: "vm/", isHashed: false), codec: .plain,
            sizes: ConfiguredSizes(blockSize: nil, diskSize: size), detectsSizes: true, isReadOnly: false, isForced: false,
            usesMountToken: true, isAnonymous: false, hostName: "vm", limits: SettlementLimits(attemptTimeout: .seconds(30)))
        change(&options)
        return options
    }

    private func open(_ options: VolumeOptions) async throws(VolumeError) -> Volume {
        try await Volume.open(
            over: store, options, token: ours, pool: BufferPool(retainedBytesMax: 0), timeline: timeline, logger: quiet)
    }

    private func disk(_ volume: Volume) -> BlockDisk {
        let pool = BufferPool(retainedBytesMax: 1 << 20)
        return BlockDisk(over: ReadModifyWrite(over: volume.blocks, pool: pool), fanOutMax: 8, isReadOnly: false)
    }

    @Test("a fresh volume is opened, written, shut down, and opened again without sizes")
    func life() async throws {
        let volume = try await open(options())
        #expect(volume.mountToken == ours)
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
        try await disk(volume).write(BufferSlice(Buffer(copying: bytes)), at: 100_000, .foreground)
        try await volume.shutDown(flushing: disk(volume))
        #expect(!store.objects.keys.contains(ObjectKey("vm/s3backer-mounted")))
        let again = try await open(options(size: nil))
        #expect(again.geometry == volume.geometry)
        #expect(try await disk(again).read(100_000..<110_000, .foreground).bytes == bytes)
    }

    @Test("wiping the whole disk keeps its sizes")
    func wiped() async throws {
        let volume = try await open(options())
        try await disk(volume).zero(0..<1 << 20, .foreground)
        try await volume.shutDown(flushing: disk(volume))
        #expect(try await open(options(size: nil)).geometry == volume.geometry)
    }

    @Test("the sizes are told before the mount token is looked at, also when that then refuses the mount")
    func order() async throws {
        _ = try await open(options())
        let told = Mutex<[String]>([])
        await #expect(throws: VolumeError.self) {
            try await Volume.open(
                over: store, options(), token: MountToken(rawValue: 8), pool: BufferPool(retainedBytesMax: 0), timeline: timeline,
                logger: quiet
            ) { decision in told.withLock { $0.append(decision.notice) } }
        }
        #expect(told.withLock { $0 }.count == 1)
    }

    @Test("a second mount is refused; nothing is changed by a refused start")
    func second() async throws {
        _ = try await open(options())
        let keys = store.objects.keys
        let error = await #expect(throws: VolumeError.self) { try await open(options()) }
        #expect(error?.code == .alreadyMounted)
        #expect(store.objects.keys == keys)
    }

    @Test("a read-only mount takes no token, and is refused as well while another mount has it")
    func readOnly() async throws {
        let volume = try await open(options { $0.isReadOnly = true })
        #expect(volume.mountToken == nil)
        #expect(store.objects.keys == [])
        try await volume.shutDown(flushing: disk(volume))
        _ = try await open(options())
        await #expect(throws: VolumeError.self) { try await open(options { $0.isReadOnly = true }) }
        _ = try await open(
            options {
                $0.isReadOnly = true
                $0.isForced = true
            })
    }

    @Test("without mount tokens, none is made")
    func noToken() async throws {
        let volume = try await open(options { $0.usesMountToken = false })
        try await disk(volume).zero(0..<4096, .foreground)
        #expect(store.objects.keys == [ObjectKey("vm/00000000")])
    }

    @Test("sizes that cannot be right take no token")
    func geometryFirst() async throws {
        await #expect(throws: VolumeError.self) { try await open(options(size: nil)) }
        #expect(store.objects.keys == [])
    }

    @Test("a flush that fails at shutdown keeps the token, and shutting down can be tried again")
    func shutDownFails() async throws {
        let volume = try await open(options())
        store.on { _ in .unsettled }
        try await disk(volume).write(BufferSlice(Buffer(copying: [1])), at: 50_000, .foreground)
        store.on { _ in .fails(failure(.connectFailed)) }
        let disk = disk(volume)
        let error = await #expect(throws: BlockStoreError.self) { try await volume.shutDown(flushing: disk) }
        #expect(error?.code == .unreachable)
        store.heal()
        #expect(store.objects.keys.contains(ObjectKey("vm/s3backer-mounted")))
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 1000) { try await volume.shutDown(flushing: disk) }
        #expect(!store.objects.keys.contains(ObjectKey("vm/s3backer-mounted")))
    }

    @Test("shutting down waits until late attempts are over, and mends what they did")
    func lateAtShutDown() async throws {
        let volume = try await open(options())
        let disk = disk(volume)
        store.on { _ in .unsettled }
        try await disk.write(BufferSlice(Buffer(copying: [1])), at: 50_000, .foreground)
        store.heal()
        let (store, timeline) = (store, timeline)
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 1000) {
            async let end: Void = volume.shutDown(flushing: disk)
            try await timeline.sleep(until: .seconds(50))
            #expect(store.objects.keys.contains(ObjectKey("vm/s3backer-mounted")))
            _ = try await store.objects.delete([ObjectKey("vm/0000000c")], .background)
            try await end
        }
        #expect(timeline.now == .seconds(60))
        #expect(store.objects.keys == [ObjectKey("vm/00000000"), ObjectKey("vm/0000000c")])
    }

    @Test("shutting down waits until the attempts of a write that failed are over, too")
    func failedBeforeShutDown() async throws {
        let volume = try await open(options())
        let disk = disk(volume)
        store.on { $0 == "PUT vm/0000000c" ? .answerLost : .done }
        let bytes = BufferSlice(Buffer(copying: [1]))
        await #expect(throws: BlockStoreError.self) { try await disk.write(bytes, at: 50_000, .foreground) }
        store.heal()
        #expect(volume.blocks.unsettledBlockCount == 1)
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 1000) { try await volume.shutDown(flushing: disk) }
        #expect(timeline.now == .seconds(60))
        #expect(volume.blocks.unsettledBlockCount == 0)
        #expect(!store.objects.keys.contains(ObjectKey("vm/s3backer-mounted")))
    }

    @Test("a late attempt after the last flush is mended in the background")
    func background() async throws {
        let volume = try await open(options())
        store.on { _ in .unsettled }
        try await disk(volume).write(BufferSlice(Buffer(copying: [1])), at: 50_000, .foreground)
        store.heal()
        try await volume.blocks.flush(.everything)
        _ = try await store.objects.delete([ObjectKey("vm/0000000c")], .background)
        let timeline = timeline
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 1000) {
            await withTaskGroup { group in
                group.addTask { await volume.run() }
                do { try await timeline.sleep(until: .seconds(100)) } catch { Issue.record(error) }
                group.cancelAll()
            }
        }
        #expect(store.objects.keys.contains(ObjectKey("vm/0000000c")))
        #expect(volume.blocks.unsettledBlockCount == 0)
    }

    @Test("resetting the mount token deletes it, whoever holds it")
    func reset() async throws {
        _ = try await open(options())
        try await MountTokenHold(over: store, options(), timeline: timeline, logger: quiet).reset()
        #expect(store.objects.keys == [])
        _ = try await open(options())
    }
}
