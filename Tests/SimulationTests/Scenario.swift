// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Volumes

/// Everything that a seed decides before the first request.
struct Scenario: Sendable {
    /// How the use of one mount ends.
    enum Ending: Sendable {
        /// In good order; the next mount is told no sizes.
        case shutDown
        /// With the so-manieth request to the store, before it is sent or before its answer is there.
        case crash(atRequest: Int, isBeforeRequest: Bool)
        /// Another mount takes the token.
        case takeOver
    }

    /// Each block is looked at in so many units; requests are made of whole units.
    static let unitsPerBlock = 4
    /// How long an attempt takes to time out.
    static let stall = Duration.seconds(5)

    /// Where volumes are in their bucket.
    static let prefixes = ["", "vm/"]

    let seed: UInt64
    /// How the volume is stored.
    let form: Form
    /// Whether only what was drawn before there were forms happens, so that a seed that once found a bug does the same again.
    let isFixed: Bool
    let geometry: BlockGeometry
    let keys: BlockKeyScheme
    /// Whether the store ignores the conditions of a PUT, as some do.
    let ignoresConditions: Bool
    let plan: ObjectFaultPlan
    /// What the store does for a while, again and again; empty: always `plan`.
    let spells: [ObjectFaultPlan]
    let policy: RetryPolicy
    let limits: RequestLimits
    let settlement: SettlementLimits
    /// What the guard remembers; nil: there is none.
    let consistency: ConsistencyLimits?
    let fanOutMax: Int
    let clientCount: Int
    let stepsPerClient: Int
    /// How often a request is cancelled before its end.
    let impatience: Double
    /// How all mounts but the last end.
    let endings: [Ending]

    /// Whether each mount surveys the volume.
    let isSurveyed: Bool
    /// Whether no request may fail but those that are cancelled.
    let isFaultless: Bool

    /// Draws a scenario.
    ///
    /// - Parameter isFixed: Whether the volume is a plain one; see ``isFixed``.
    init(seed: UInt64, isFixed: Bool) {
        var forms = SeededGenerator(seed: seed ^ 0xf0f0)
        form = isFixed ? .plain : Form.draw(&forms)
        isSurveyed = !isFixed && forms.chance(0.5)
        self.isFixed = isFixed
        var generator = SeededGenerator(seed: seed)
        self.seed = seed
        geometry = Self.geometry(&generator)
        keys = BlockKeyScheme(prefix: Self.prefixes[generator.chance(0.5) ? 0 : 1], isHashed: false)
        ignoresConditions = generator.chance(0.1)
        let kind = Int.random(in: 0..<8, using: &generator)
        var plan = Self.plan(kind)
        if generator.chance(0.3) { plan.latencyMax = .zero }
        plan.lateMutationsMax = Int.random(in: 1...3, using: &generator)
        isFaultless = kind == 0
        self.plan = plan
        spells = isFaultless || generator.chance(0.6) ? [] : [plan, Self.outage, plan, Self.healthy]
        let totalPause = [0, 2, 30][Int.random(in: 0..<3, using: &generator)]
        policy = RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: .seconds(totalPause))
        let lanes = [1, 2, 4, 16][Int.random(in: 0..<4, using: &generator)]
        limits = RequestLimits(requestsMax: lanes, foregroundReserve: lanes / 2)
        settlement = Self.settlement(&generator, blockSize: geometry.blockSize)
        fanOutMax = Int.random(in: 1...4, using: &generator)
        clientCount = Int.random(in: 2...4, using: &generator)
        stepsPerClient = Int.random(in: 8...16, using: &generator)
        impatience = generator.chance(0.3) ? 0.1 : 0
        endings = (0..<Int.random(in: 0...2, using: &generator)).map { _ in
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: .shutDown
            case 1: .takeOver
            default:
                .crash(atRequest: Int.random(in: 3...120, using: &generator), isBeforeRequest: generator.chance(0.5))
            }
        }
        let consistency = ConsistencyLimits(
            objectsMax: Int.random(in: 1...8, using: &generator), keptFor: .seconds(Int.random(in: 1...20, using: &generator)),
            minWriteDelay: .milliseconds(generator.chance(0.5) ? 0 : 500))
        self.consistency = generator.chance(0.5) ? consistency : nil
    }

    /// Few blocks, so that requests meet often.
    private static func geometry(_ generator: inout SeededGenerator) -> BlockGeometry {
        let blockSize = 512 << Int.random(in: 0...3, using: &generator)
        let blockCount = Int.random(in: 1...6, using: &generator)
        guard let geometry = BlockGeometry(blockSize: blockSize, blockCount: blockCount) else {
            preconditionFailure("a power of two, and one block or more")
        }
        return geometry
    }

    /// The usual limits, or so little room that mutations have to wait for their own confirmation.
    private static func settlement(_ generator: inout SeededGenerator, blockSize: Int) -> SettlementLimits {
        var limits = SettlementLimits(attemptTimeout: stall)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: limits.retainedBytesMax = blockSize
        case 1: limits.watchedBlocksMax = 1
        default: break
        }
        return limits
    }

    private static func plan(_ kind: Int) -> ObjectFaultPlan {
        var plan = healthy
        plan.latencyMax = .milliseconds(50)
        switch kind {
        case 0: break
        case 1, 2:
            plan = .rough
        case 3:
            plan = .rough
            plan.refused = 0.15
            plan.answerLost = 0.15
            plan.timeout = 0.1
            plan.lateArrival = 0.1
        case 4: plan.lateArrival = 0.25
        case 5:
            plan.answerLost = 0.3
            plan.lateArrival = 0.05
        case 6:
            plan.slowDown = 0.25
            plan.forbidden = 0.15
        default:
            plan.serverError = 0.25
            plan.timeout = 0.1
        }
        plan.stall = healthy.stall
        plan.lateDelayMax = healthy.lateDelayMax
        return plan
    }

    /// No faults any more; what is on its way is still bound to the rule for late arrivals.
    static var healthy: ObjectFaultPlan {
        var plan = ObjectFaultPlan()
        plan.stall = stall
        // Counted from the end of the stall; but an attempt that is cancelled has ended before, and its window with it.
        plan.lateDelayMax = SettlementLimits(attemptTimeout: stall).window - stall
        return plan
    }

    private static var outage: ObjectFaultPlan {
        var plan = healthy
        plan.refused = 1
        return plan
    }
}
