// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Daemon
import ObjectStores
import StoreTesting
import Volumes

/// The sequence of mounts that one seed makes of a volume, and what must hold after each.
struct VolumeLife: Sendable {
    let scenario: Scenario
    let world: World

    /// Prepares the life of a volume that has not been written to yet.
    init(seed: UInt64, isFixed: Bool, trace: Trace?) {
        scenario = Scenario(seed: seed, isFixed: isFixed)
        world = World(scenario, trace: trace)
    }

    /// Lives through a seed on the calling thread.
    ///
    /// - Parameter isFixed: See ``Scenario/isFixed``.
    /// - Throws: What was wrong; ``SimulationFailure`` when the stack did not come to an end.
    /// - Returns: What happened.
    static func run(seed: UInt64, isFixed: Bool = false, trace: Trace? = nil) throws -> Census {
        let life = VolumeLife(seed: seed, isFixed: isFixed, trace: trace)
        try SimulationExecutor(seed: seed).run(on: life.world.timeline, stepsMax: 400_000) { try await life.live() }
        return life.world.finalCensus
    }

    private func live() async throws {
        try await Mount.race(world)
        for ending in scenario.endings {
            var mount = try await Mount.open(world)
            switch ending {
            case .shutDown:
                try await use(mount, crash: nil)
                try await mount.shutDown()
            case .crash(let atRequest, let isBeforeRequest):
                try await use(mount, crash: (atRequest, isBeforeRequest))
                mount.wire.cut()
                mount.note()
                world.count("crashes")
                try await world.settleAfterCrash()
            case .takeOver:
                try await use(mount, crash: nil)
                mount.note()
                mount = try await takeOver(from: mount)
                try await mount.shutDown()
            }
            try await world.compareStore("after a mount")
            try await Intruder(world: world).tryMount()
            try await PasswordChange(world: world).tryChange()
        }
        try await end(try await Mount.open(world))
    }

    /// Lets the clients of a mount work; meanwhile somebody else may change the password.
    private func use(_ mount: Mount, crash: (atRequest: Int, isBeforeRequest: Bool)?) async throws {
        guard scenario.form.hasKey else { return try await Crew(mount).work(crash: crash) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await Crew(mount).work(crash: crash) }
            group.addTask { try await PasswordChange(world: world).tryChange() }
            try await group.waitForAll()
        }
    }

    /// The last mount: the store heals, and then everything is exact.
    private func end(_ mount: Mount) async throws {
        try await use(mount, crash: nil)
        world.heal()
        try await world.faulty.deliverLate()
        do {
            try await mount.stack.disk.flush(nil)
        } catch {
            throw Violation("a flush failed on a healthy store: \(error)")
        }
        let onStore = try await world.compareStore("after the last flush")
        try await mount.compareDisk(with: onStore)
        try await mount.shutDown()
        guard try await world.tokenOnStore() == nil else { throw Violation("the mount token is still there after shutdown") }
        try await world.compareStore("after the last shutdown")
        try await lookAgain(onStore)
    }

    /// A cold, read-only mount without sizes and without force sees the same.
    private func lookAgain(_ onStore: [UInt64]) async throws {
        guard try await world.hasFirstBlock() else { return }
        let mount = try await Mount.open(world, isReadOnly: true, isForced: false)
        try await mount.compareDisk(with: onStore)
        let failure = await mount.refusedWrite()
        guard failure == .readOnly else {
            throw Violation("a read-only disk answers a write with \(failure?.rawValue ?? "success")")
        }
    }

    /// Another mount takes the volume from `old`, whose changes must all be refused from then on.
    private func takeOver(from old: Mount) async throws -> Mount {
        try await world.settleAfterCrash()
        world.heal()
        do {
            let wire = Wire(to: world.faulty, world)
            _ = try await Mount.openOnce(
                world, over: wire, isReadOnly: false, isForced: false, password: try await world.password())
            throw Violation("a mounted volume was mounted a second time without force")
        } catch let error as VolumeError {
            guard error.code == .alreadyMounted else { throw Violation("a second mount failed for another reason: \(error)") }
        }
        try await Intruder(world: world).tryMount()
        let new = try await Mount.open(world)
        // Until then the old mount may trust its last look at the token.
        try await world.timeline.sleep(until: world.timeline.now + .seconds(61))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await Crew(new).work(crash: nil) }
            group.addTask { try await Ghost(of: old).haunt() }
            try await group.waitForAll()
        }
        world.heal()
        try await Ghost(of: old).isFenced()
        guard try await world.tokenOnStore() == new.stack.volume.mountToken else {
            throw Violation("the token of the new mount is gone after the end of the old one")
        }
        world.count("takeovers")
        return new
    }
}

/// A mount that has lost the volume and does not know it.
private struct Ghost: Sendable {
    private let mount: Mount

    init(of mount: Mount) { self.mount = mount }

    /// Tries to change every block; nothing may be written.
    func haunt() async throws {
        for block in 0..<mount.world.scenario.geometry.blockCount {
            guard await mount.refusedWrite(block) != nil else { throw Violation("a mount that lost the token has written") }
        }
    }

    /// On a healthy store, the failure has a name.
    func isFenced() async throws {
        let failure = await mount.refusedWrite()
        guard failure == .fenced else { throw Violation("a lost mount answers a write with \(failure?.rawValue ?? "success")") }
        do throws(BlockStoreError) {
            try await mount.stack.disk.flush(nil)
        } catch {
            guard error.code == .fenced else { throw Violation("a lost mount answers a flush with \(error)") }
            do throws(BlockStoreError) {
                try await mount.stack.volume.shutDown(flushing: mount.stack.disk)
            } catch { return }
            throw Violation("a lost mount was shut down as if in good order")
        }
        throw Violation("a lost mount answers a flush with success")
    }
}
