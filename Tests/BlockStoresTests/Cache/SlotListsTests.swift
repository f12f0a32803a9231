// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Testing

@testable import BlockStores

@Suite("SlotLists") struct SlotListsTests {
    enum List: Int, CaseIterable, Sendable { case free, clean, dirty }

    @Test("the lists answer as arrays do", arguments: [UInt64(1), 2, 3, 4])
    func equalsArrays(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let slotCount = 40
        var lists = SlotLists<List>(slotCount: slotCount)
        var model: [List: [CacheSlot]] = [.free: [], .clean: [], .dirty: []]
        for step in 0..<3000 {
            let slot = CacheSlot(rawValue: UInt32.random(in: 0..<UInt32(slotCount), using: &generator))
            let list = List.allCases[Int.random(in: 0..<3, using: &generator)]
            let home = List.allCases.first { model[$0]?.contains(slot) ?? false }
            #expect(lists.isLinked(slot) == (home != nil), "seed \(seed), step \(step)")
            if let home {
                switch Int.random(in: 0..<3, using: &generator) {
                case 0:
                    lists.remove(slot, from: home)
                    model[home]?.removeAll { $0 == slot }
                case 1:
                    lists.moveToEnd(slot, of: home)
                    model[home]?.removeAll { $0 == slot }
                    model[home]?.append(slot)
                default:
                    let expected = model[list]?.first
                    if expected != nil { model[list]?.removeFirst() }
                    #expect(lists.popFirst(of: list) == expected, "seed \(seed), step \(step)")
                }
            } else if generator.chance(0.5) {
                lists.append(slot, to: list)
                model[list]?.append(slot)
            } else {
                lists.prepend(slot, to: list)
                model[list]?.insert(slot, at: 0)
            }
            for list in List.allCases { compare(lists, list, model[list] ?? [], "seed \(seed), step \(step), \(list)") }
        }
    }

    @Test("a slot costs 8 bytes, and slots never used cost nothing")
    func cost() {
        var lists = SlotLists<List>(slotCount: 1000)
        #expect(lists.byteCount == 0)
        #expect(!lists.isLinked(CacheSlot(rawValue: 999)))
        for number in UInt32(0)..<600 { lists.append(CacheSlot(rawValue: number), to: .free) }
        #expect(lists.byteCount <= 8000)
        #expect(lists.count(of: .free) == 600)
    }

    private func compare(_ lists: SlotLists<List>, _ list: List, _ model: [CacheSlot], _ comment: Comment) {
        var forwards: [CacheSlot] = []
        var slot = lists.first(of: list)
        while let found = slot, forwards.count <= model.count {
            forwards.append(found)
            slot = lists.next(after: found)
        }
        var backwards: [CacheSlot] = []
        slot = lists.last(of: list)
        while let found = slot, backwards.count <= model.count {
            backwards.append(found)
            slot = lists.previous(before: found)
        }
        #expect(forwards == model, comment)
        #expect(backwards.reversed() == model, comment)
        #expect(lists.count(of: list) == model.count, comment)
    }
}
