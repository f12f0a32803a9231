// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Logging
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Daemon
@testable import Volumes

@Suite("The stack with a block cache")
struct CachedStackTests {
    private let store = MemoryObjectStore()
    private let disk = FakeCacheDisk()
    private let timeline = ManualTimeline()
    private let pool = BufferPool(retainedBytesMax: 1 << 20)
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private let key = ObjectKey("p/s3backer-mounted")

    private func settings(_ recovery: CacheFileSettings.DirtyRecovery?, isPlain: Bool) -> StackSettings {
        StackSettings(
            retry: RetryPolicy(initialPause: .milliseconds(1), totalPauseMax: .milliseconds(10)), consistency: nil,
            verifiesBodies: true, limits: nil,
            cache: BlockCacheSettings(
                slotCount: 100, readAheadMax: 0, behaviour: CacheSettings(slotCount: 1),
                file: CacheFileSettings(path: "/c", recovery: recovery, isAdvised: false, isPlain: isPlain)),
            surveyRequestsMax: nil, fanOutMax: 4, isChecked: true)
    }

    private func open(
        _ token: UInt32, _ recovery: CacheFileSettings.DirtyRecovery? = nil, isReadOnly: Bool = false, isForced: Bool = false,
        codec: CodecOptions = .plain, isPlain: Bool = false
    ) async throws(VolumeError) -> (stack: Stack, custody: CacheFileCustody) {
        let options = VolumeOptions(
            description: "memory", keys: BlockKeyScheme(prefix: "p/", isHashed: false), codec: codec,
            sizes: ConfiguredSizes(blockSize: nil, diskSize: 1 << 20), detectsSizes: true, isReadOnly: isReadOnly,
            isForced: isForced, usesMountToken: true, isAnonymous: false, hostName: "host",
            limits: SettlementLimits(attemptTimeout: .seconds(1)))
        let custody = CacheFileCustody(of: disk.place, recovery, volume: "memory", logger: logger)
        let stack = try await Stack.open(
            over: store, settings(recovery, isPlain: isPlain), options, token: MountToken(rawValue: token), cacheFile: custody,
            keyParameters: ScryptParameters(costLog2: 1, blockSize: 1, parallelism: 1), pool: pool, timeline: timeline,
            jitter: { 0 }, logger: logger, onDetected: { _ in })
        return (stack, custody)
    }

    /// Ends a mount in good order.
    private func close(_ mount: (stack: Stack, custody: CacheFileCustody)) async throws {
        let cache = try #require(mount.stack.cache)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await cache.run() }
            try await cache.drain()
            try await mount.stack.volume.shutDown(flushing: mount.stack.disk)
            group.cancelAll()
            try await group.waitForAll()
        }
        await mount.custody.close(isInOrder: true)
    }

    private func storedToken() async throws -> UInt32? {
        try await MountTokenObject(
            in: store, keys: BlockKeyScheme(prefix: "p/", isHashed: false), hostName: "h", timeline: timeline
        ).read(.foreground)?.token.rawValue
    }

    /// A mount that has crashed with unsaved data.
    private func crash(_ unsaved: [BlockNumber: UInt8], token: UInt32 = 7) async throws {
        _ = try await open(token)
        disk.state.withLock { state in
            state.isOpen = false
            state.file?.unsaved = unsaved
        }
        _ = disk.takeLog()
    }

    @Test("the token is in the file from before the store has it until after it is gone there")
    func order() async throws {
        let mount = try await open(7)
        #expect(disk.takeLog() == ["record 7"])
        #expect(try await storedToken() == 7)
        try await close(mount)
        #expect(disk.takeLog() == ["close"])
        #expect(try await storedToken() == nil)
    }

    @Test("after a crash the next mount takes the volume over, reads and writes back what was left, and ends in order")
    func recovery() async throws {
        try await crash([5: 0x55, 9: 0x99])
        let mount = try await open(8)
        #expect(mount.stack.volume.mountToken?.rawValue == 7 && mount.stack.cache?.unsavedCount == 2)
        let read = try await mount.stack.disk.read(5 * 4096..<5 * 4096 + 3, .foreground)
        #expect(Array(read.bytes) == [0x55, 0x55, 0x55])
        try await close(mount)
        #expect(try await storedToken() == nil)
        let object = try await store.get(ObjectKey("p/00000009"), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = object else { return #expect(Bool(false)) }
        #expect(object.body.bytes == [UInt8](repeating: 0x99, count: 4096))
        #expect(disk.state.withLock { $0.file?.unsaved.isEmpty } == true)
    }

    @Test("when the token is gone, unsaved data refuses the mount; apply writes it, discard sets it aside, --force does neither")
    func mismatch() async throws {
        try await crash([5: 0x55])
        _ = try await store.delete([key], .foreground)
        for isForced in [false, true] {
            let error = await #expect(throws: VolumeError.self) { try await open(8, isForced: isForced) }
            #expect(error?.code == .unsavedData)
            disk.state.withLock { $0.isOpen = false }
        }
        #expect(try await storedToken() == nil)
        #expect(disk.takeLog() == [])
        let applied = try await open(8, .apply)
        #expect(applied.stack.cache?.unsavedCount == 1)
        try await close(applied)
        #expect(store.keys.contains(ObjectKey("p/00000005")))
    }

    @Test("what is discarded is kept under another name, and only once the mount is certain")
    func discarded() async throws {
        try await crash([5: 0x55])
        _ = try await store.delete([key], .foreground)
        let other = ObjectMetadata(user: ["s3backer-mount-token": "00000063"])
        _ = try await store.put(key, BufferSlice(Buffer(copying: [])), other, .none, .foreground)
        let error = await #expect(throws: VolumeError.self) { try await open(8, .discard) }
        #expect(error?.code == .alreadyMounted)
        #expect(disk.takeLog() == [])
        disk.state.withLock { $0.isOpen = false }
        let mount = try await open(8, .discard, isForced: true)
        #expect(disk.takeLog() == ["set aside", "record 8"])
        #expect(mount.stack.cache?.unsavedCount == 0)
        try await close(mount)
        #expect(disk.state.withLock { $0.aside.map(\.unsaved) } == [[5: 0x55]])
        #expect(!store.keys.contains(ObjectKey("p/00000005")))
    }

    @Test("after our own crash, too, and the new file has the token that was taken over")
    func discardedAfterCrash() async throws {
        try await crash([5: 0x55])
        let mount = try await open(8, .discard)
        #expect(disk.takeLog() == ["set aside", "record 7"])
        #expect(mount.stack.volume.mountToken?.rawValue == 7 && mount.stack.cache?.unsavedCount == 0)
        try await close(mount)
    }

    @Test("a read-only mount is refused while there is unsaved data, and changes nothing of the token otherwise")
    func readOnly() async throws {
        try await crash([5: 0x55])
        let error = await #expect(throws: VolumeError.self) { try await open(8, isReadOnly: true) }
        #expect(error?.code == .unsavedData)
        disk.state.withLock { state in
            state.isOpen = false
            state.file?.unsaved = [:]
        }
        let mount = try await open(8, isReadOnly: true)
        #expect(mount.stack.volume.mountToken == nil)
        await #expect(throws: BlockStoreError.self) { try await mount.stack.disk.zero(0..<4096, .foreground) }
        await mount.custody.close(isInOrder: false)
        #expect(disk.takeLog() == ["close with token"])
        #expect(try await storedToken() == 7)
        #expect(disk.state.withLock { $0.file?.token } == 7)
    }

    @Test("--reset-mounted-flag refuses while the cache file has unsaved data, or is in use")
    func reset() async throws {
        let message = {
            do throws(UserError) {
                try ResetMountToken.check(disk.place, of: "memory")
                return "nothing"
            } catch { return error.message }
        }
        #expect(message() == "nothing")
        try await crash([5: 0x55, 6: 0x66])
        #expect(
            message()
                == "cannot reset the mount token of memory: cache file \"/c\" holds 2 blocks that the store does not have; mount the "
                + "volume with it once, so that they are written")
        let mount = try await open(8)
        #expect(
            message()
                == "cannot reset the mount token of memory: cache file \"/c\" is in use; without --blockCacheFile no cache file is "
                + "looked at")
        try await close(mount)
        #expect(message() == "nothing")
    }

    @Test("a file that cannot be used is named, and no token is left")
    func unusable() async throws {
        disk.state.withLock { $0.failure = BlockStoreError(.io, "cache file \"/c\" is damaged") }
        let error = await #expect(throws: VolumeError.self) { try await open(8) }
        #expect(error?.code == .cacheFile && error?.message == "cannot mount memory: cache file \"/c\" is damaged")
        #expect(try await storedToken() == nil)
    }

    @Test("a cache for which there is no memory is refused under the volume's name and with the option that helps")
    func noMemory() async throws {
        // 256 TiB: more than a process can address.
        let options = VolumeOptions(
            description: "memory", keys: BlockKeyScheme(prefix: "p/", isHashed: false), codec: .plain,
            sizes: ConfiguredSizes(blockSize: 1 << 24, diskSize: 1 << 48), detectsSizes: true, isReadOnly: false, isForced: false,
            usesMountToken: true, isAnonymous: false, hostName: "host", limits: SettlementLimits(attemptTimeout: .seconds(1)))
        var settings = settings(nil, isPlain: false)
        settings.cache = BlockCacheSettings(
            slotCount: 1 << 24, readAheadMax: 0, behaviour: CacheSettings(slotCount: 1), file: nil)
        let error = await #expect(throws: VolumeError.self) {
            try await Stack.open(
                over: store, settings, options, token: MountToken(rawValue: 7), pool: pool, timeline: timeline, jitter: { 0 },
                logger: logger)
        }
        #expect(error?.code == .cacheFile)
        #expect(error?.message.hasPrefix("cannot mount memory: cannot take memory for a cache of 16777216 blocks") == true)
        #expect(error?.message.hasSuffix("; use a smaller --blockCacheSize") == true)
        #expect(try await storedToken() == nil)
    }

    @Test("an encrypted volume gives the file a key of its own, unless it shall be plain")
    func encrypted() async throws {
        let secret = SecretBytes(Array("geheim".utf8))
        let codec = CodecOptions(
            compression: nil, encryption: EncryptionOptions(scheme: .aes256GCM, password: secret, salt: "b/p/"),
            defaultContentEncoding: nil)
        let first = try await open(7, codec: codec)
        let key = disk.state.withLock { $0.file?.key }
        #expect(key?.count == 32)
        try await close(first)
        let second = try await open(8, codec: codec)
        #expect(disk.state.withLock { $0.file?.key } == key)
        try await close(second)
        let plain = try await open(9, codec: codec, isPlain: true)
        #expect(disk.state.withLock { $0.file?.key } == nil)
        try await close(plain)
    }

    @Test("the statistics show the cache, and resetting them empties no cache")
    func statistics() async throws {
        let mount = try await open(7)
        let bytes = BufferSlice(Buffer(copying: [UInt8](repeating: 1, count: 8192)))
        try await mount.stack.disk.write(bytes, at: 0, .foreground)
        let statistics = StackStatistics(of: mount.stack, client: nil)
        #expect(statistics.text().contains("block_cache_current_size     2 blocks\n"))
        #expect(statistics.text().contains("block_cache_write_misses     2\n"))
        statistics.reset()
        #expect(statistics.text().contains("block_cache_current_size     2 blocks\n"))
        #expect(statistics.text().contains("block_cache_write_misses     0\n"))
        try await close(mount)
    }
}

extension BlockNumber: ExpressibleByIntegerLiteral {
    init(integerLiteral value: UInt32) { self.init(rawValue: value) }
}
