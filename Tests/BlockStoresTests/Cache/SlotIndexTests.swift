// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Testing

@testable import BlockStores

@Suite("SlotIndex") struct SlotIndexTests {
    @Test("an index answers as a dictionary does", arguments: [1, 2, 3, 16, 100, 5000])
    func equalsDictionary(slotCount: Int) {
        for seed in UInt64(1)...4 {
            var generator = SeededGenerator(seed: seed)
            var index = SlotIndex(slotCount: slotCount)
            var model: [BlockNumber: CacheSlot] = [:]
            // Few numbers, so that finds hit; near the ends of the range in turn.
            let base: UInt32 = seed % 2 == 0 ? 0 : .max - UInt32(slotCount * 2) - 1
            for step in 0..<slotCount * 20 {
                let block = BlockNumber(rawValue: base + UInt32.random(in: 0...UInt32(slotCount * 2), using: &generator))
                let comment: Comment = "seed \(seed), step \(step), block \(block)"
                #expect(index.find(block) == model[block], comment)
                let wantsMore = generator.chance(step < slotCount * 10 ? 0.8 : 0.4)
                if wantsMore, model[block] == nil, model.count < slotCount {
                    let slot = CacheSlot(rawValue: UInt32.random(in: 0...UInt32.max, using: &generator))
                    index.insert(slot, for: block)
                    model[block] = slot
                } else if !wantsMore {
                    #expect(index.remove(block) == model.removeValue(forKey: block), comment)
                }
                #expect(index.count == model.count, comment)
            }
            for (block, slot) in model { #expect(index.find(block) == slot, "seed \(seed), block \(block)") }
        }
    }

    @Test("a full index costs less than 12 bytes a block, and an empty one next to nothing", arguments: [64, 65_536, 100_000])
    func cost(slotCount: Int) {
        var index = SlotIndex(slotCount: slotCount)
        #expect(index.tableBytes <= 128)
        for number in 0..<slotCount { index.insert(CacheSlot(rawValue: UInt32(number)), for: BlockNumber(number)) }
        #expect(index.tableBytes <= slotCount * 12)
        #expect(index.count == slotCount)
    }

    @Test("blocks in order, and at any regular distance, stay near the places of their hashes")
    func patternsDoNotCluster() {
        for stride in [1, 2, 3, 16, 64, 1000, 4096, 65_536, 1 << 18] {
            let slotCount = 10_000
            var index = SlotIndex(slotCount: slotCount)
            for number in 0..<slotCount {
                index.insert(CacheSlot(rawValue: UInt32(number)), for: BlockNumber(UInt32(truncatingIfNeeded: number * stride)))
            }
            // Knuth: 2.5 places for each successful search at three quarters full.
            #expect(index.meanProbeCount < 3, "distance \(stride)")
        }
    }

    @Test("an index that was filled and emptied many times finds as quickly as a new one")
    func noTraces() {
        var index = SlotIndex(slotCount: 1000)
        for number in 0..<100_000 {
            index.insert(CacheSlot(rawValue: UInt32(number % 1000)), for: BlockNumber(number))
            if number >= 999 { #expect(index.remove(BlockNumber(number - 999)) != nil) }
        }
        #expect(index.count == 999)
        #expect(index.meanProbeCount < 3.5)
        for number in 99_001..<100_000 { index.remove(BlockNumber(number)) }
        #expect(index.count == 0)
        #expect(index.meanProbeCount == 0)
    }
}
