// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Testing

@testable import BlockStores

@Suite("MutationLocks") struct MutationLocksTests {
    private let one = MutationLocks.Claim.block(BlockNumber(1))
    private let two = MutationLocks.Claim.block(BlockNumber(2))
    private let both = MutationLocks.Claim.blocks(BlockSet(BlockNumber(1)..<BlockNumber(3)))

    @Test("claims of one block are granted in the order in which they came, other blocks at once")
    func order() {
        var locks = MutationLocks.StateMachine()
        let first = locks.enter(one)
        let second = locks.enter(one)
        let third = locks.enter(one)
        let other = locks.enter(two)
        #expect(first.isGranted && other.isGranted && !second.isGranted && !third.isGranted)
        let afterFirst = locks.leave(one, first.ticket)
        #expect(afterFirst == [second.ticket])
        let afterSecond = locks.leave(one, second.ticket)
        #expect(afterSecond == [third.ticket])
    }

    @Test("a set waits for all its blocks, and later claims of them wait for the set")
    func sets() {
        var locks = MutationLocks.StateMachine()
        let first = locks.enter(one)
        let set = locks.enter(both)
        let late = locks.enter(two)
        #expect(!set.isGranted && !late.isGranted)
        let afterFirst = locks.leave(one, first.ticket)
        #expect(afterFirst == [set.ticket])
        let afterSet = locks.leave(both, set.ticket)
        #expect(afterSet == [late.ticket])
        _ = locks.leave(two, late.ticket)
        #expect(locks.isIdle)
    }

    @Test("one that gives up lets those behind it go on as if it had never come")
    func givesUp() {
        var locks = MutationLocks.StateMachine()
        let first = locks.enter(one)
        let set = locks.enter(both)
        let late = locks.enter(two)
        let afterSet = locks.leave(both, set.ticket)
        #expect(afterSet == [late.ticket])
        let second = locks.enter(one)
        let third = locks.enter(one)
        let afterSecond = locks.leave(one, second.ticket)
        #expect(afterSecond.isEmpty && locks.isGranted(one, second.ticket) == nil)
        let afterFirst = locks.leave(one, first.ticket)
        #expect(afterFirst == [third.ticket])
    }

    @Test("random claims never overlap, never starve, and are granted in order", arguments: UInt64(0)..<40)
    func random(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var locks = MutationLocks.StateMachine()
        var waiting: [UInt64: (claim: MutationLocks.Claim, blocks: BlockSet)] = [:]
        var granted: [UInt64: (claim: MutationLocks.Claim, blocks: BlockSet)] = [:]
        func grant(_ tickets: [UInt64]) {
            #expect(tickets == tickets.sorted())
            for ticket in tickets {
                guard let entry = waiting.removeValue(forKey: ticket) else {
                    Issue.record("seed \(seed): a claim was granted twice or never made")
                    continue
                }
                let isAlone = granted.values.allSatisfy { $0.blocks.isDisjoint(entry.blocks) }
                let isNext = waiting.allSatisfy { $0.key > ticket || $0.value.blocks.isDisjoint(entry.blocks) }
                #expect(isAlone && isNext, "seed \(seed): claim \(ticket) was granted too early")
                granted[ticket] = entry
            }
        }
        for step in 0..<150 {
            let arrives = step < 100 && generator.chance(0.6)
            if arrives {
                let blocks = BlockSet(
                    blocks: (0..<Int.random(in: 1...4, using: &generator)).map { _ in
                        BlockNumber(Int.random(in: 0..<10, using: &generator))
                    })
                let isSingle = blocks.blockCount == 1 && generator.chance(0.7)
                let claim = isSingle ? MutationLocks.Claim.block(blocks.ranges[0].lowerBound) : .blocks(blocks)
                let entered = locks.enter(claim)
                waiting[entered.ticket] = (claim, blocks)
                if entered.isGranted { grant([entered.ticket]) }
            } else if generator.chance(0.2), let ticket = waiting.keys.sorted().randomElement(using: &generator) {
                guard let entry = waiting.removeValue(forKey: ticket) else { continue }
                grant(locks.leave(entry.claim, ticket))
            } else if let ticket = granted.keys.sorted().randomElement(using: &generator) {
                guard let entry = granted.removeValue(forKey: ticket) else { continue }
                grant(locks.leave(entry.claim, ticket))
            }
            // Nobody waits for nothing: whoever waits shares a block with a claim that came before.
            for (ticket, entry) in waiting {
                let isAhead = { (other: UInt64, blocks: BlockSet) in other < ticket && !blocks.isDisjoint(entry.blocks) }
                if granted.contains(where: { isAhead($0.key, $0.value.blocks) }) { continue }
                if waiting.contains(where: { isAhead($0.key, $0.value.blocks) }) { continue }
                Issue.record("seed \(seed): claim \(ticket) waits for nobody")
            }
        }
        while let (ticket, entry) = granted.min(by: { $0.key < $1.key }) {
            granted[ticket] = nil
            grant(locks.leave(entry.claim, ticket))
        }
        #expect(waiting.isEmpty && locks.isIdle, "seed \(seed): somebody waits for ever")
    }
}
