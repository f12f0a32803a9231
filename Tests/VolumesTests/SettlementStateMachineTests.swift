// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Testing

@testable import Volumes

/// The state machine against a store with an adversary: whenever the books say that nothing is watched, nothing may be able to
/// change the object any more.
@Suite("Settlement, as a state machine")
struct SettlementStateMachineTests {
    /// One block as the world has it: the object, attempts under way with the time until which they may arrive, and what the
    /// owner of the data may rely on (nil: indeterminate).
    private struct World {
        var object = 0
        var underWay: [(value: Int, until: Duration)] = []
        var promised: Int? = 0
    }

    @Test("after a flush each promised block is right, and a forgotten block can no longer change", arguments: UInt64(0)..<300)
    func adversary(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let window = Duration.seconds(60)
        var machine = SettlementStateMachine(
            limits: SettlementLimits(window: window, retainedBytesMax: 1 << 20, watchedBlocksMax: 10))
        var worlds = [World](repeating: World(), count: 3)
        var now = Duration.zero

        func arrive(_ index: Int) {
            worlds[index].underWay.removeAll { $0.until <= now }
            guard let late = worlds[index].underWay.indices.randomElement(using: &generator) else { return }
            worlds[index].object = worlds[index].underWay.remove(at: late).value
        }
        for value in 1...60 {
            now += generator.duration(upTo: .seconds(30))
            let index = Int.random(in: 0..<3, using: &generator)
            let block = BlockNumber(index)
            for index in 0..<3 where generator.chance(0.3) { arrive(index) }
            switch Int.random(in: 0..<4, using: &generator) {
            case 0:  // A flush.
                var pending = machine.pending(in: .everything)
                for claim in machine.claim(&pending) {
                    let index = Int(claim.block.rawValue)
                    let expected = Int(claim.expected.eTag?.text ?? "0") ?? 0
                    let outcome: SettlementStateMachine.Confirmation
                    if worlds[index].object == expected {
                        outcome = .matched
                    } else {
                        worlds[index].object = expected
                        let isSettled = generator.chance(0.7)
                        if !isSettled { worlds[index].underWay.append((expected, now + window)) }
                        outcome = .mended(Mutation(eTag: claim.expected.eTag, isSettled: isSettled))
                    }
                    machine.endConfirmation(of: claim.block, outcome, beganAt: now, now: now)
                }
                for world in worlds {
                    if let promised = world.promised { #expect(world.object == promised, "seed \(seed)") }
                }
            case 1:  // A mutation without an answer at all.
                let begins = machine.beginMutation(of: [block])
                #expect(begins)
                worlds[index].underWay.append((value, now + window))
                worlds[index].promised = nil
                machine.failMutation(of: [block], isUnknown: true, now: now)
            default:  // A mutation, perhaps with an unanswered attempt before it.
                let begins = machine.beginMutation(of: [block])
                #expect(begins)
                let isSettled = generator.chance(0.6)
                worlds[index].object = value
                worlds[index].promised = value
                if !isSettled { worlds[index].underWay.append((value, now + window)) }
                let expected = SettlementStateMachine.Expectation(contents: .zero, eTag: ETag(String(value)))
                let verdict = machine.endMutation(of: [block], expected, isSettled: isSettled, beganAt: now, now: now)
                #expect(verdict == .done)
            }
            for (index, world) in worlds.enumerated() where machine.entries[BlockNumber(index)] == nil {
                #expect(world.underWay.allSatisfy { $0.until <= now || $0.value == world.object }, "seed \(seed)")
            }
        }
    }

    @Test("the bytes kept are counted, and never exceed the limit")
    func bytes() {
        var machine = SettlementStateMachine(
            limits: SettlementLimits(window: .seconds(60), retainedBytesMax: 10, watchedBlocksMax: 3))
        func end(_ block: BlockNumber, _ count: Int, isSettled: Bool, at now: Duration = .zero) -> SettlementStateMachine.Verdict
        {
            let contents = count == 0 ? BlockContents.zero : .filled(1, count: count)
            let expected = SettlementStateMachine.Expectation(contents: contents, eTag: nil)
            return machine.endMutation(of: [block], expected, isSettled: isSettled, beganAt: now, now: now)
        }
        #expect(end(1, 6, isSettled: true) == .done)
        #expect(machine.entries.isEmpty)
        #expect(end(1, 6, isSettled: false) == .done)
        #expect(machine.retainedBytes == 6)
        #expect(end(2, 6, isSettled: false) == .mustConfirm(after: .seconds(60)))
        machine.endLoneConfirmation(of: [2], isConfirmed: true, now: .seconds(60))
        #expect(end(2, 4, isSettled: false) == .done)
        #expect(machine.retainedBytes == 10)
        #expect(end(1, 6, isSettled: false) == .done)
        #expect(end(3, 0, isSettled: false) == .done)
        #expect(end(4, 0, isSettled: false) == .mustConfirm(after: .seconds(60)))
        machine.endLoneConfirmation(of: [4], isConfirmed: true, now: .seconds(60))
        #expect(end(1, 6, isSettled: true, at: .seconds(61)) == .done)
        #expect(machine.retainedBytes == 4)
        #expect(machine.entries.count == 2)
    }

    @Test("what began before the hazard was over, and ended after, is still watched")
    func straddling() {
        var machine = SettlementStateMachine(
            limits: SettlementLimits(window: .seconds(60), retainedBytesMax: 10, watchedBlocksMax: 3))
        let expected = SettlementStateMachine.Expectation(contents: .zero, eTag: nil)
        func end(isSettled: Bool, from beganAt: Duration, to now: Duration) {
            let verdict = machine.endMutation(of: [1], expected, isSettled: isSettled, beganAt: beganAt, now: now)
            #expect(verdict == .done)
        }
        func confirm(from beganAt: Duration, to now: Duration) {
            var pending = machine.pending(in: .everything)
            for claim in machine.claim(&pending) {
                machine.endConfirmation(of: claim.block, .matched, beganAt: beganAt, now: now)
            }
        }
        end(isSettled: false, from: .zero, to: .zero)
        end(isSettled: true, from: .seconds(59), to: .seconds(70))
        #expect(machine.entries.count == 1)
        confirm(from: .seconds(59), to: .seconds(70))
        #expect(machine.entries.count == 1)
        confirm(from: .seconds(60), to: .seconds(70))
        #expect(machine.entries.isEmpty)
        end(isSettled: false, from: .zero, to: .zero)
        end(isSettled: true, from: .seconds(60), to: .seconds(70))
        #expect(machine.entries.isEmpty)
    }

    @Test("a batch begins whole or not at all")
    func batches() {
        var machine = SettlementStateMachine(
            limits: SettlementLimits(window: .seconds(60), retainedBytesMax: 10, watchedBlocksMax: 3))
        machine.failMutation(of: [1], isUnknown: true, now: .zero)
        let expected = SettlementStateMachine.Expectation(contents: .zero, eTag: nil)
        #expect(machine.endMutation(of: [2], expected, isSettled: false, beganAt: .zero, now: .zero) == .done)
        var pending = machine.pending(in: .everything)
        let claims = machine.claim(&pending)
        #expect(claims.map(\.block) == [2])
        let hasBegun = machine.beginMutation(of: [1, 2])
        #expect(!hasBegun)
        #expect(machine.entries[1]?.activity == .idle)
        machine.endConfirmation(of: 2, .matched, beganAt: .zero, now: .zero)
        let begins = machine.beginMutation(of: [1, 2])
        #expect(begins)
        pending = machine.pending(in: .everything)
        #expect(pending == [1, 2])
        let rest = machine.claim(&pending)
        #expect(rest.isEmpty && pending == [1, 2])
    }
}
