// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Daemon
import ObjectStores
import StoreTesting
import Synchronization
import Volumes

/// One mount of the volume: the stack exactly as the daemon composes it, on a connection that can be cut.
struct Mount: Sendable {
    let world: World
    let stack: Stack
    let wire: Wire

    /// Opens the volume, however often that takes; the faults of the scenario reign afterwards.
    static func open(_ world: World, isReadOnly: Bool = false, isForced: Bool = true) async throws -> Mount {
        if !isReadOnly { world.faulty.setPlan(world.scenario.plan) }
        defer { if !isReadOnly { world.faulty.setPlan(world.scenario.plan) } }
        for attempt in 0..<5 {
            // A token written late, by an attempt that nobody waits for any more, would end the next mount.
            try await world.faulty.deliverLate(of: world.scenario.keys.mountTokenKey)
            if attempt == 4 { world.heal() }
            let wire = Wire(to: world.faulty, world)
            if !isReadOnly, attempt < 2, !world.scenario.isFixed, world.chance(0.2) {
                wire.cut(atRequest: 1 + world.choice(of: 14), isBeforeRequest: world.chance(0.5))
            }
            do {
                let mount = try await openOnce(
                    world, over: wire, isReadOnly: isReadOnly, isForced: isForced, password: try await world.password())
                wire.keep()
                if !wire.isCut { return mount }
            } catch let error as VolumeError {
                guard wire.isCut || !world.scenario.isFaultless, attempt < 4, error.code != .alreadyMounted else {
                    throw Violation("cannot open: \(error)")
                }
                if !wire.isCut { world.count("mounts that failed") }
            }
            if wire.isCut { try await noteCrash(world) }
        }
        preconditionFailure("the last attempt throws")
    }

    /// Counts a mount that has died before it was open.
    private static func noteCrash(_ world: World) async throws {
        world.count("crashes of mounts that were opening")
        // A store without conditions would let it replace the key that the next mount makes: Docs/Formats/Encryption.md.
        if world.scenario.ignoresConditions { try await world.faulty.deliverLate(of: world.scenario.keys.volumeKeyKey) }
    }

    /// How the layers are set, as by the daemon.
    static func settings(_ world: World) -> StackSettings {
        let scenario = world.scenario
        return StackSettings(
            retry: scenario.policy, consistency: scenario.consistency, verifiesBodies: !scenario.form.isEncrypted,
            limits: scenario.limits, cache: nil, surveyRequestsMax: scenario.isSurveyed ? 2 : nil,
            fanOutMax: scenario.fanOutMax, isChecked: true)
    }

    /// How the volume is opened. Sizes are left out.
    static func options(_ world: World, codec: CodecOptions, isReadOnly: Bool, isForced: Bool) -> VolumeOptions {
        VolumeOptions(
            description: "the volume", keys: world.scenario.keys, codec: codec,
            sizes: ConfiguredSizes(blockSize: nil, diskSize: nil), detectsSizes: true, isReadOnly: isReadOnly,
            isForced: isForced, usesMountToken: true, isAnonymous: false, hostName: "host", limits: world.scenario.settlement)
    }

    /// Opens the volume, or fails. Sizes are told only to a volume that has no block 0.
    static func openOnce(
        _ world: World, over wire: Wire, isReadOnly: Bool, isForced: Bool, password: String
    ) async throws -> Mount {
        let scenario = world.scenario
        var generator = world.makeGenerator()
        let token = MountToken(using: &generator)
        let jitter = Mutex(generator)
        var options = options(world, codec: world.codecOptions(password), isReadOnly: isReadOnly, isForced: isForced)
        if try await !world.hasFirstBlock() {
            options.sizes = ConfiguredSizes(blockSize: scenario.geometry.blockSize, diskSize: scenario.geometry.sizeBytes)
        }
        let stack = try await Stack.open(
            over: wire, settings(world), options, token: token, cacheFile: nil, keyParameters: World.keyParameters,
            pool: world.pool,
            timeline: world.timeline, jitter: { jitter.withLock { $0.fraction() } }, logger: world.logger, onDetected: { _ in })
        guard stack.volume.geometry == scenario.geometry else { throw Violation("the sizes are lost: \(stack.volume.geometry)") }
        try await world.requireReadable(stack)
        return Mount(world: world, stack: stack, wire: wire)
    }

    /// Two mounts that make the key of a new volume at the same time, each by force; both die then, and whatever they have
    /// written can be read.
    static func race(_ world: World) async throws {
        // Without conditions, Docs/Formats/Encryption.md promises less.
        guard world.scenario.form.hasKey, !world.scenario.ignoresConditions, world.chance(0.3) else { return }
        let wires = [Wire(to: world.faulty, world), Wire(to: world.faulty, world)]
        let password = try await world.password()
        let mounts = try await withThrowingTaskGroup(of: Mount?.self) { group in
            for wire in wires {
                group.addTask {
                    do {
                        return try await openOnce(world, over: wire, isReadOnly: false, isForced: true, password: password)
                    } catch let error as VolumeError {
                        // That it is not known whether there are blocks is a failure of the store in other words.
                        let isExplained = [.store, .encryption].contains(error.code) && !world.scenario.isFaultless
                        guard isExplained || error.code == .alreadyMounted else { throw Violation("a race: \(error)") }
                        return nil
                    }
                }
            }
            return try await group.reduce(into: [Mount]()) { mounts, mount in if let mount { mounts.append(mount) } }
        }
        for wire in wires { wire.cut() }
        try await world.faulty.deliverLate(of: world.scenario.keys.volumeKeyKey)
        for mount in mounts { try await world.requireReadable(mount.stack) }
        world.count("races for the key")
        if mounts.count == 2 { world.count("races for the key that both won") }
    }

    /// Leaves the volume in good order, however often that takes; on a healthy store it must work.
    func shutDown() async throws {
        note()
        for attempt in 0..<4 {
            if attempt == 3 { world.heal() }
            do throws(BlockStoreError) {
                try await stack.volume.shutDown(flushing: stack.disk)
                break
            } catch {
                guard !world.scenario.isFaultless, attempt < 3, error.code != .fenced else {
                    throw Violation("cannot shut down: \(error)")
                }
            }
        }
        // Later, it would remove or replace the token of the next mount.
        guard world.faulty.lateCount(of: world.scenario.keys.mountTokenKey) == 0 else {
            throw Violation("after the shutdown a request for the mount token is still on its way")
        }
        world.count("shutdowns")
        world.book.withLock { book in
            for block in book.arrivalsFlushed.indices { book.arrivalsFlushed[block] = world.arrivals(block) }
        }
    }

    /// Adds the layers' own figures to the census.
    func note() {
        world.count("retries", Int(stack.retrying?.statistics.retries ?? 0))
        world.count("requests given up", Int(stack.retrying?.statistics.givenUp ?? 0))
        world.count("blocks mended", Int(stack.volume.blocks.statistics.mended))
        world.count("zeros known", Int(stack.zeroMap.statistics.readHits + stack.zeroMap.statistics.writeHits))
    }

    /// Compares what the disk answers with what the store holds; nothing is under way.
    func compareDisk(with onStore: [UInt64]) async throws {
        let range = 0..<UInt64(onStore.count * world.unitSize)
        let bytes = try await readAll(range)
        let found = bytes.withUnsafeBytes { Units.values(of: $0, world.unitSize) }
        guard found == onStore else { throw Violation("the disk reads \(found), and the store holds \(onStore)") }
        for extent in try await stack.disk.extents(in: range) where extent.kind == .zero {
            let units = Int(extent.range.lowerBound) / world.unitSize..<Int(extent.range.upperBound) / world.unitSize
            guard onStore[units].allSatisfy({ $0 == 0 }) else { throw Violation("an extent of zeros holds data: \(extent)") }
        }
    }

    /// Reads what the store holds, also where a write that failed left an older version there than the guard has seen.
    private func readAll(_ range: Range<UInt64>) async throws -> [UInt8] {
        do throws(BlockStoreError) {
            return try await stack.disk.read(range, .foreground).bytes
        } catch {
            guard error.code == .stale, let keptFor = world.scenario.consistency?.keptFor else { throw error }
            world.count("stale reads after a write that failed")
            try await world.timeline.sleep(until: world.timeline.now + keptFor)
            return try await stack.disk.read(range, .foreground).bytes
        }
    }

    /// Writes a value that nobody may ever read, and returns why that failed; nil when it did not.
    func refusedWrite(_ block: Int = 0) async -> BlockStoreError.Code? {
        let offset = UInt64(block * world.scenario.geometry.blockSize)
        do throws(BlockStoreError) {
            try await stack.disk.write(Units.fill([Units.torn - 1], unitSize: world.unitSize), at: offset, .foreground)
            return nil
        } catch {
            return error.code
        }
    }
}
