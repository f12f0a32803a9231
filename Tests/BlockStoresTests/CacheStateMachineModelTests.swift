// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import BlockStores

/// The state machine of the block cache under everything that can happen around it, against a model that knows what every sector
/// must hold. 1,040,000 steps: 40 arguments, each 13 caches that live for 2,000 steps.
///
/// A failure names the seed of its life: `CacheWorld(seed:)` repeats it.
@Suite("The block cache's state machine, driven at random") struct CacheStateMachineModelTests {
    private static let stepsPerLife = 2000
    private static let livesPerRound = 13

    @Test("loses nothing, keeps nothing, and gives readers what was written last", arguments: UInt64(1)...40)
    func survives(round: UInt64) {
        for life in 0..<UInt64(Self.livesPerRound) {
            let world = CacheWorld(seed: round * 1000 + life)
            world.live(Self.stepsPerLife)
            if let problem = world.problem {
                Issue.record("\(problem)")
                return
            }
        }
    }

    @Test("makes every transition of its table, and no other")
    func transitions() {
        var missing = Set(CacheTransition.table)
        var seed: UInt64 = 0
        while !missing.isEmpty, seed < 1000 {
            seed += 1
            let world = CacheWorld(seed: seed)
            world.live(500)
            missing.subtract(world.seen)
            if let problem = world.problem {
                Issue.record("\(problem)")
                return
            }
        }
        #expect(missing.map(\.description).sorted() == [], "not seen")
    }
}
