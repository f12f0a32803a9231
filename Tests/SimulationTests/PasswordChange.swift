// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Daemon
import DataPath
import StoreTesting
import Synchronization
import Volumes

/// A change of the password, through the same layers as the command's, over the same faults, perhaps with a crash.
struct PasswordChange: Sendable {
    let world: World

    /// Now and then, changes the password; afterwards exactly one password holds, and if a message named it, that one.
    func tryChange() async throws {
        guard world.scenario.form.hasKey, world.chance(0.3), try await world.keyRecord() != nil else { return }
        let old = try await world.password()
        let new = world.passwords.withLock { passwords in
            defer { passwords.count += 1 }
            return "password \(passwords.count)"
        }
        let wire = Wire(to: world.faulty, world)
        if world.chance(0.3) { wire.cut(atRequest: 1 + world.choice(of: 6), isBeforeRequest: world.chance(0.5)) }
        world.passwords.withLock { $0.possible = [old, new] }
        do {
            try await change(over: wire, from: old, to: new)
            try await settle(new, because: "a change of the password succeeded")
            world.count("passwords changed")
        } catch let error as VolumeError {
            try await examine(error, wire, old, new)
        }
    }

    private func change(over wire: Wire, from old: String, to new: String) async throws {
        let jitter = Mutex(world.splitGenerator())
        let options = Mount.options(world, codec: .plain, isReadOnly: false, isForced: false)
        let objects = Stack.objects(
            over: wire, Mount.settings(world), options, timeline: world.timeline, jitter: { jitter.withLock { $0.fraction() } },
            logger: world.logger)
        try await VolumePassword.change(
            over: objects, options, from: World.secret(old), to: World.secret(new), World.keyParameters,
            timeline: world.timeline, logger: world.logger)
    }

    private func examine(_ error: VolumeError, _ wire: Wire, _ old: String, _ new: String) async throws {
        guard !wire.isCut else {
            world.count("changes of the password that crashed")
            return
        }
        guard !world.scenario.isFaultless, error.code == .store else { throw Violation("cannot change the password: \(error)") }
        if error.message.contains("the old password holds") {
            try await settle(old, because: error.message)
        } else if error.message.contains("his password holds") {
            throw Violation("nobody else changes the password: \(error)")
        }
        world.count("changes of the password that failed")
    }

    /// From now on there is one password.
    private func settle(_ password: String, because text: String) async throws {
        world.passwords.withLock { $0.possible = [password] }
        guard try await world.unlocked() != nil else { throw Violation("the key object is gone, and \(text)") }
    }
}
