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
            do {
                return try await openOnce(world, isReadOnly: isReadOnly, isForced: isForced)
            } catch let error as VolumeError {
                guard !world.scenario.isFaultless, attempt < 4, error.code != .alreadyMounted else {
                    throw Violation("cannot open: \(error)")
                }
                world.count("mounts that failed")
            }
        }
        preconditionFailure("the last attempt throws")
    }

    /// Opens the volume, or fails. Sizes are told only to a volume that has no block 0.
    static func openOnce(_ world: World, isReadOnly: Bool, isForced: Bool) async throws -> Mount {
        let scenario = world.scenario
        var generator = world.makeGenerator()
        let token = MountToken(using: &generator)
        let jitter = Mutex(generator)
        let hasFirstBlock = try await world.hasFirstBlock()
        let sizes = ConfiguredSizes(
            blockSize: hasFirstBlock ? nil : scenario.geometry.blockSize,
            diskSize: hasFirstBlock ? nil : scenario.geometry.sizeBytes)
        let options = VolumeOptions(
            description: "the volume", keys: scenario.keys, codec: .plain, sizes: sizes, detectsSizes: true,
            isReadOnly: isReadOnly,
            isForced: isForced, usesMountToken: true, isAnonymous: false, hostName: "host", limits: scenario.settlement)
        let wire = Wire(to: world.faulty, world)
        let settings = StackSettings(
            retry: scenario.policy, consistency: scenario.consistency, verifiesBodies: true, limits: scenario.limits,
            fanOutMax: scenario.fanOutMax, isChecked: true)
        let stack = try await Stack.open(
            over: wire, settings, options, token: token, pool: world.pool, timeline: world.timeline,
            jitter: { jitter.withLock { $0.fraction() } }, logger: world.logger)
        guard stack.volume.geometry == scenario.geometry else { throw Violation("the sizes are lost: \(stack.volume.geometry)") }
        return Mount(world: world, stack: stack, wire: wire)
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
        let bytes = try await stack.disk.read(range, .foreground).bytes
        let found = bytes.withUnsafeBytes { Units.values(of: $0, world.unitSize) }
        guard found == onStore else { throw Violation("the disk reads \(found), and the store holds \(onStore)") }
        for extent in try await stack.disk.extents(in: range) where extent.kind == .zero {
            let units = Int(extent.range.lowerBound) / world.unitSize..<Int(extent.range.upperBound) / world.unitSize
            guard onStore[units].allSatisfy({ $0 == 0 }) else { throw Violation("an extent of zeros holds data: \(extent)") }
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
