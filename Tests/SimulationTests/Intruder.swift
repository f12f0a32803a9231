// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Volumes

/// Somebody who has a wrong password.
struct Intruder: Sendable {
    let world: World

    /// Now and then, tries to mount the volume by force; is refused, and nothing has changed.
    func tryMount() async throws {
        guard world.scenario.form.isEncrypted, world.chance(0.15) else { return }
        // As long as there is neither key nor block, any password is right.
        if world.scenario.form.hasKey {
            guard try await world.keyRecord() != nil else { return }
        } else {
            guard try await world.hasFirstBlock() else { return }
        }
        let wire = Wire(to: world.faulty, world)
        let lates = world.lateArrivals
        let before = try await world.attributes()
        do {
            _ = try await Mount.openOnce(world, over: wire, isReadOnly: false, isForced: true, password: "wrong")
            throw Violation("a wrong password opens the volume")
        } catch let error as VolumeError {
            guard error.code == .password || error.code == .store && !world.scenario.isFaultless else {
                throw Violation("a wrong password is refused for another reason: \(error)")
            }
            world.count(error.code == .password ? "wrong passwords refused" : "wrong passwords that failed")
        }
        guard wire.mutationCount == 0 else { throw Violation("a mount with a wrong password has changed something") }
        // What was on its way before may have arrived meanwhile.
        guard try await world.attributes() == before || world.lateArrivals != lates else {
            throw Violation("the objects have changed under a mount with a wrong password")
        }
    }
}
