// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Daemon
import DataPath
import StoreTesting
import Volumes

/// The clients that use one mount at the same time.
struct Crew: Sendable {
    private let mount: Mount
    private let seeds: [UInt64]

    init(_ mount: Mount) {
        self.mount = mount
        var generator = mount.world.makeGenerator()
        seeds = (0..<mount.world.scenario.clientCount + 1).map { _ in generator.next() }
    }

    private enum Event: Sendable { case clientDone, other }

    /// Lets all clients do their requests, with the volume's own background work beside them.
    ///
    /// - Parameter crash: With which request the mount dies, and whether before it is sent; nil: it does not.
    func work(crash: (atRequest: Int, isBeforeRequest: Bool)?) async throws {
        if let crash { mount.wire.cut(atRequest: crash.atRequest, isBeforeRequest: crash.isBeforeRequest) }
        try await withThrowingTaskGroup(of: Event.self) { group in
            group.addTask {
                await mount.stack.volume.run()
                return .other
            }
            if let survey = mount.stack.survey {
                group.addTask {
                    await survey.run()
                    mount.world.count("surveys that ended, well or not")
                    return .other
                }
            }
            group.addTask { await changeWeather() }
            for seed in seeds.dropLast() {
                group.addTask {
                    try await Client(mount, seed: seed).act()
                    return .clientDone
                }
            }
            var clientsLeft = seeds.count - 1
            while clientsLeft > 0, !mount.wire.isCut, let event = try await group.next() {
                if event == .clientDone { clientsLeft -= 1 }
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    /// Takes the store through its spells.
    private func changeWeather() async -> Event {
        let world = mount.world
        var generator = SeededGenerator(seed: seeds[seeds.count - 1])
        while !world.scenario.spells.isEmpty {
            for spell in world.scenario.spells {
                do {
                    try await world.timeline.sleep(until: world.timeline.now + generator.duration(upTo: .seconds(40)))
                } catch {
                    return .other
                }
                world.faulty.setPlan(spell)
            }
        }
        return .other
    }
}
