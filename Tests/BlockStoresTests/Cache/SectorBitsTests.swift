// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Testing

@testable import BlockStores

@Suite("SectorBits") struct SectorBitsTests {
    @Test("the bits answer as an array of truth values does", arguments: [1, 2, 8, 32, 64, 128, 1024])
    func equalsArray(sectorsPerSlot: Int) {
        let slotCount = 37
        for seed in UInt64(1)...3 {
            var generator = SeededGenerator(seed: seed)
            var bits = SectorBits(sectorsPerSlot: sectorsPerSlot, slotCount: slotCount)
            var model = [[Bool]](repeating: [Bool](repeating: false, count: sectorsPerSlot), count: slotCount)
            for step in 0..<600 {
                // Slots come into use one by one, so that those beyond are asked too.
                let highest = min(slotCount - 1, step / 10)
                let number = Int.random(in: 0...highest, using: &generator)
                let slot = CacheSlot(rawValue: UInt32(number))
                let sectors = range(in: sectorsPerSlot, &generator)
                switch Int.random(in: 0..<5, using: &generator) {
                case 0, 1:
                    bits.set(sectors, of: slot)
                    for sector in sectors { model[number][sector] = true }
                case 2:
                    bits.clear(sectors, of: slot)
                    for sector in sectors { model[number][sector] = false }
                case 3 where generator.chance(0.3):
                    bits.clear(slot)
                    model[number] = [Bool](repeating: false, count: sectorsPerSlot)
                default:
                    let other = Int.random(in: 0..<slotCount, using: &generator)
                    bits.assign(bits.words(of: CacheSlot(rawValue: UInt32(other))), to: slot)
                    model[number] = model[other]
                }
                let asked = generator.chance(0.2) ? Int.random(in: 0..<slotCount, using: &generator) : number
                compare(bits, model[asked], asked, range(in: sectorsPerSlot, &generator), "seed \(seed), step \(step)")
            }
            for number in 0..<slotCount { compare(bits, model[number], number, 0..<sectorsPerSlot, "seed \(seed), at the end") }
        }
    }

    @Test("the largest block has 2^19 sectors")
    func largest() {
        let slot = CacheSlot(rawValue: 1)
        var bits = SectorBits(sectorsPerSlot: 1 << 19, slotCount: 2)
        bits.set(100..<1 << 19, of: slot)
        #expect(bits.firstClearRun(in: 0..<1 << 19, of: slot) == 0..<100)
        #expect(bits.count(of: slot) == 1 << 19 - 100)
        #expect(bits.isEmpty(CacheSlot(rawValue: 0)))
        bits.set(0..<100, of: slot)
        #expect(bits.isFull(slot))
    }

    @Test("memory is taken as slots come into use, and never for more slots than there are")
    func cost() {
        var bits = SectorBits(sectorsPerSlot: 1, slotCount: 100_000)
        #expect(bits.byteCount == 0)
        bits.clear(0..<1, of: CacheSlot(rawValue: 99_999))
        #expect(bits.isEmpty(CacheSlot(rawValue: 99_999)))
        #expect(bits.byteCount == 0)
        for number in 0..<100_000 { bits.set(0..<1, of: CacheSlot(rawValue: UInt32(number))) }
        #expect(bits.byteCount <= 100_000 / 8 + 8)
        var wide = SectorBits(sectorsPerSlot: 256, slotCount: 1000)
        for number in 0..<600 { wide.set(0..<1, of: CacheSlot(rawValue: UInt32(number))) }
        #expect(wide.byteCount <= 1000 * 32)
    }

    private func range(in count: Int, _ generator: inout SeededGenerator) -> Range<Int> {
        if generator.chance(0.2) { return 0..<count }
        let lower = Int.random(in: 0...count, using: &generator)
        return lower..<Int.random(in: lower...count, using: &generator)
    }

    private func compare(_ bits: SectorBits, _ model: [Bool], _ number: Int, _ sectors: Range<Int>, _ comment: Comment) {
        let slot = CacheSlot(rawValue: UInt32(number))
        #expect(bits.isAllSet(sectors, of: slot) == model[sectors].allSatisfy { $0 }, comment)
        #expect(bits.isAnySet(sectors, of: slot) == model[sectors].contains(true), comment)
        #expect(bits.isFull(slot) == model.allSatisfy { $0 }, comment)
        #expect(bits.isEmpty(slot) == !model.contains(true), comment)
        #expect(bits.count(of: slot) == model.count { $0 }, comment)
        #expect(bits.count(in: sectors, of: slot) == model[sectors].count { $0 }, comment)
        let words = bits.words(of: slot)
        #expect(words.count == max(1, model.count / 64), comment)
        let told: [Bool] = (0..<words.count * 64).map { words[$0 / 64] >> UInt64($0 % 64) & 1 == 1 }
        #expect(Array(told.prefix(model.count)) == model && !told.dropFirst(model.count).contains(true), comment)
        for isSet in [true, false] {
            var runs: [Range<Int>] = []
            if isSet {
                bits.forEachSetRun(in: sectors, of: slot) { runs.append($0) }
                #expect(bits.firstSetRun(in: sectors, of: slot) == runs.first, comment)
            } else {
                bits.forEachClearRun(in: sectors, of: slot) { runs.append($0) }
                #expect(bits.firstClearRun(in: sectors, of: slot) == runs.first, comment)
            }
            #expect(runs.flatMap { Array($0) } == sectors.filter { model[$0] == isSet }, comment)
            #expect(zip(runs, runs.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound }, comment)
        }
    }
}
