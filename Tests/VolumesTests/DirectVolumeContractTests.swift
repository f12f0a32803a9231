// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Testing

@testable import Volumes

@Suite("The contract of block stores")
struct DirectVolumeContractTests {
    private func volume(over store: any ObjectStore, _ timeline: ManualTimeline, isHashed: Bool = false) throws -> DirectVolume {
        DirectVolume(
            over: store, keys: BlockKeyScheme(prefix: "vm/", isHashed: isHashed),
            geometry: try required(BlockGeometry(blockSize: 512, blockCount: 16)), codec: plainCodec(blockSize: 512),
            isFirstBlockPresent: false, checksSizes: false,
            fence: nil,
            limits: SettlementLimits(window: .seconds(60), retainedBytesMax: 2048, watchedBlocksMax: 100), timeline: timeline,
            logger: quiet)
    }

    @Test("DirectVolume keeps it, alone and under other layers", arguments: BlockStoreContract.cases, 0..<4)
    func contract(rule: BlockStoreContract.Case, stack: Int) async throws {
        let direct = try volume(over: MemoryObjectStore(), ManualTimeline(), isHashed: stack == 1)
        switch stack {
        case 2: try await rule.run(ZeroMap(over: direct))
        case 3: try await rule.run(CheckedStore(over: direct, name: "direct", logger: quiet))
        default: try await rule.run(direct)
        }
    }

    /// Everything goes wrong, but no attempt arrives later than the window allows.
    private static var plan: ObjectFaultPlan {
        var plan = ObjectFaultPlan.rough
        plan.lateArrival = 0.1
        plan.lateDelayMax = .seconds(59)
        return plan
    }

    /// Blocks are written, zeroed, read and flushed over a store that fails in every way, late arrivals included. What a write
    /// that returned left must be read until the next one, and must be in the store after the end.
    @Test("what returned is kept, over a store that fails in every way", arguments: UInt64(0)..<150)
    func faults(seed: UInt64) throws {
        let timeline = ManualTimeline()
        let objects = MemoryObjectStore()
        let plan = Self.plan
        let faulty = FaultyObjectStore(over: objects, plan: plan, seed: seed, timeline: timeline)
        let retrying = RetryingObjectStore(
            over: faulty, policy: RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: .seconds(3)), isSigned: true,
            timeline: timeline, jitter: { 0.5 }, logger: quiet)
        let volume = try volume(over: retrying, timeline)
        try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 200_000) {
            // A first request that succeeds: until then a 403 is not repeated.
            faulty.setPlan(ObjectFaultPlan())
            _ = try await volume.read(1, ifNot: nil, .foreground)
            faulty.setPlan(plan)
            let expected = try await withThrowingTaskGroup(of: (BlockNumber, UInt8?).self) { group in
                for block in 0..<6 as Range<BlockNumber> {
                    var generator = SeededGenerator(seed: seed &* 64 &+ UInt64(block.rawValue))
                    group.addTask { (block, try await Self.use(volume, block, &generator, seed)) }
                }
                return try await group.reduce(into: [BlockNumber: UInt8?]()) { $0[$1.0] = $1.1 }
            }
            faulty.setPlan(ObjectFaultPlan())
            try await volume.settleAll()
            try await faulty.deliverLate()
            #expect(volume.settlement.lastHazardEnd == nil)
            for (block, value) in expected {
                guard let value else { continue }
                let read = try await retrying.get(
                    volume.keys.key(of: block), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
                var bytes = [UInt8](repeating: 0, count: 512)
                if case .object(let object) = read { bytes = object.body.bytes }
                #expect(bytes == [UInt8](repeating: value, count: 512), "block \(block), seed \(seed)")
            }
        }
    }

    /// Changes and reads one block; returns what it must hold, nil when the last change failed.
    private static func use(
        _ volume: DirectVolume, _ block: BlockNumber, _ generator: inout SeededGenerator, _ seed: UInt64
    ) async throws -> UInt8? {
        var expected: UInt8? = 0
        for step in UInt8(1)...12 {
            do throws(BlockStoreError) {
                switch Int.random(in: 0..<5, using: &generator) {
                case 0:
                    expected = nil
                    try await volume.zero(BlockSet(blocks: [block]), .foreground)
                    expected = 0
                case 1, 2:
                    expected = nil
                    _ = try await volume.write(.filled(step, count: 512), to: block, .foreground)
                    expected = step
                case 3: try await volume.flush(.blocks(BlockSet(blocks: [block])))
                default:
                    let read = try await volume.read(block, ifNot: nil, .foreground)
                    guard let expected, let contents = read.contents else { continue }
                    #expect(
                        contents.spelt(count: 512) == [UInt8](repeating: expected, count: 512),
                        "block \(block), step \(step), seed \(seed)")
                }
            } catch {
                // A change that failed leaves the block old or new; nothing is expected of it until the next.
            }
        }
        return expected
    }
}
