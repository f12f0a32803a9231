// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Volumes

/// A survey beside clients that change blocks, over a store that is slow and faulty; from a seed.
@Suite("Survey simulation")
struct SurveySimulationTests {
    @Test("what is called zero beside a survey is zero, and stays so until somebody writes it", arguments: UInt64(0)..<200)
    func simulation(seed: UInt64) throws {
        let world = try SurveyWorld(seed: seed)
        try SimulationExecutor(seed: seed).run(on: world.fixture.timeline, stepsMax: 1_000_000) { try await world.run() }
        #expect(world.violations == [], "seed \(seed)")
    }
}

/// The volume, its clients, and what each block may be.
final class SurveyWorld: Sendable {
    /// What a block is, for those who believe all that was returned.
    private enum Model: Sendable { case zero, data, indeterminate }

    private static let blockCount = 20_000
    private static let clientCount = 4

    let fixture: SurveyFixture
    private let seed: UInt64
    private let faulty: FaultyObjectStore
    /// The blocks that clients look at and change, spread over the disk; each is one client's.
    private let blocks: [BlockNumber]
    private let models: Mutex<[BlockNumber: Model]>
    private let found = Mutex<[String]>([])

    var violations: [String] { found.withLock { $0 } }

    init(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        self.seed = seed
        blocks = Array(Set((0..<60).map { _ in BlockNumber(Int.random(in: 1..<Self.blockCount, using: &generator)) })).sorted()
        models = Mutex([:])
        var plan = ObjectFaultPlan()
        plan.latencyMax = .milliseconds(generator.chance(0.5) ? 3000 : 200)
        if generator.chance(0.7) {
            plan.answerLost = 0.1
            plan.lateArrival = 0.1
            plan.serverError = 0.05
            plan.stall = .seconds(3)
            plan.lateDelayMax = .seconds(20)
        }
        let isHashed = generator.chance(0.4)
        let pageMax = Int.random(in: 1...20, using: &generator)
        let totalPause = Duration.seconds(generator.chance(0.5) ? 30 : 1)
        let faults = generator.next()
        // In the order of the layers: the faults are the store's, the slow lists are the line's.
        let made = Mutex<FaultyObjectStore?>(nil)
        fixture = try SurveyFixture(isHashed: isHashed, blockCount: Self.blockCount, pageMax: pageMax) { store, timeline in
            let faulty = FaultyObjectStore(over: store, plan: plan, seed: faults, timeline: timeline)
            made.withLock { $0 = faulty }
            return RetryingObjectStore(
                over: faulty, policy: RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: totalPause), isSigned: true,
                timeline: timeline, jitter: { 0 }, logger: quiet)
        }
        faulty = try required(made.withLock { $0 })
    }

    func run() async throws {
        var generator = SeededGenerator(seed: seed ^ 0x5eed)
        let present = Set(blocks.filter { _ in generator.chance(0.6) })
        try await fixture.put(([0] + present.sorted()).map { fixture.keys.key(of: $0) })
        models.withLock { models in
            for block in blocks { models[block] = present.contains(block) ? .data : .zero }
        }
        let seeds = (0..<Self.clientCount).map { _ in generator.next() }
        // What was changed before it began, and not what is changed beside it, it may show as a late attempt has left it.
        let beginning = generator.chance(0.3) ? Duration.zero : generator.duration(upTo: .seconds(30))
        await withTaskGroup { group in
            group.addTask {
                do { try await self.fixture.timeline.sleep(until: beginning) } catch {}
                await self.fixture.survey(4).run()
            }
            group.addTask { await self.flush() }
            for (client, seed) in seeds.enumerated() {
                group.addTask { await self.act(client, SeededGenerator(seed: seed)) }
            }
        }
        for block in blocks { check(block) }
        if fixture.map.statistics.size < Self.blockCount - 2 * blocks.count - 1 { report("the survey has taught nothing") }
    }

    private func act(_ client: Int, _ generator: SeededGenerator) async {
        var generator = generator
        let own = blocks.filter { Int($0.rawValue) % Self.clientCount == client }
        for _ in 0..<60 {
            guard let block = own.randomElement(using: &generator) else { return }
            do { try await fixture.timeline.sleep(until: fixture.timeline.now + generator.duration(upTo: .seconds(1))) } catch {}
            for block in own { check(block) }
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: await change(block, .zero)
            case 1: await change(block, .filled(UInt8.random(in: 1...255, using: &generator), count: 512))
            case 2: await zero(own.filter { _ in generator.chance(0.3) })
            default:
                // Learns too.
                do { _ = try await fixture.map.read(block, ifNot: nil, .foreground) } catch {}
            }
        }
    }

    private func change(_ block: BlockNumber, _ contents: BlockContents) async {
        set([block], .indeterminate)
        do {
            _ = try await fixture.map.write(contents, to: block, .foreground)
            set([block], contents.isAllZeros ? .zero : .data)
        } catch {}
    }

    private func zero(_ blocks: [BlockNumber]) async {
        let unknown = blocks.filter { fixture.map.readNow($0) == nil }
        set(unknown, .indeterminate)
        do {
            try await fixture.map.zero(BlockSet(blocks: blocks), .foreground)
            set(blocks, .zero)
        } catch {}
    }

    /// Confirms now and then, so that watches end while lists are under way.
    private func flush() async {
        for _ in 0..<10 {
            do {
                try await fixture.timeline.sleep(until: fixture.timeline.now + .seconds(9))
                try await fixture.map.flush(.everything)
            } catch {}
        }
    }

    private func set(_ blocks: [BlockNumber], _ model: Model) {
        models.withLock { models in
            for block in blocks { models[block] = model }
        }
    }

    private func check(_ block: BlockNumber) {
        guard fixture.map.readNow(block) != nil, let model = models.withLock({ $0[block] }) else { return }
        if model == .data { report("block \(block) holds data, and is called zero") }
        if model == .indeterminate { report("block \(block) may hold data, and is called zero") }
    }

    private func report(_ violation: String) { found.withLock { $0.append(violation) } }
}
