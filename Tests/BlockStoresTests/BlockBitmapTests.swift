// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Testing

@testable import BlockStores

@Suite("BlockBitmap") struct BlockBitmapTests {
    @Test("a bitmap answers as a set of numbers does", arguments: [1, 63, 64, 65, 1000, 262_144, 600_000])
    func equalsSet(blockCount: Int) {
        var generator = SeededGenerator(seed: UInt64(blockCount))
        var bitmap = BlockBitmap(blockCount: blockCount)
        var model = BlockSet()
        for _ in 0..<200 {
            let lower = Int.random(in: 0..<blockCount, using: &generator)
            let upper =
                generator.chance(0.2) ? blockCount : min(blockCount, lower + Int.random(in: 1...3000, using: &generator))
            let range = BlockNumber(generator.chance(0.1) ? 0 : lower)..<BlockNumber(upper)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0:
                bitmap.insert(BlockSet(range))
                model.insert(contentsOf: range)
            case 1:
                bitmap.remove(BlockSet(range))
                model.remove(contentsOf: range)
            case 2:
                bitmap.insert(range.lowerBound)
                model.insert(contentsOf: range.lowerBound..<range.lowerBound.advanced(by: 1))
            default:
                bitmap.remove(range.lowerBound)
                model.remove(contentsOf: range.lowerBound..<range.lowerBound.advanced(by: 1))
            }
            #expect(bitmap.count == model.blockCount)
            #expect(bitmap.contains(range.lowerBound) == model.contains(range.lowerBound))
            let all = BlockNumber(0)..<BlockNumber(blockCount)
            let window = generator.chance(0.5) ? all : range
            var found = BlockSet()
            var next = window.lowerBound
            var last: Bool?
            bitmap.forEachRun(in: window) { run, isSet in
                #expect(run.lowerBound == next && !run.isEmpty && isSet != last)
                if isSet { found.insert(contentsOf: run) }
                (next, last) = (run.upperBound, isSet)
            }
            #expect(next == window.upperBound)
            #expect(found == model.intersection(BlockSet(window)))
        }
    }

    @Test("the largest disk can be set and cleared as a whole")
    func largest() {
        let all = BlockNumber(0)..<BlockNumber(UInt32.max)
        var bitmap = BlockBitmap(blockCount: Int(UInt32.max))
        bitmap.insert(BlockSet(all))
        #expect(bitmap.count == Int(UInt32.max))
        bitmap.remove(BlockNumber(77))
        #expect(bitmap.count == Int(UInt32.max) - 1)
        #expect(!bitmap.contains(BlockNumber(77)) && bitmap.contains(BlockNumber(UInt32.max - 1)))
        bitmap.remove(BlockSet(all))
        #expect(bitmap.count == 0)
    }
}
