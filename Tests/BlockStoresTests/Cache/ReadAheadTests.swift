// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Testing

@testable import BlockStores

@Suite("ReadAhead") struct ReadAheadTests {
    /// Feeds reads and keeps what was asked for.
    private struct Reader {
        var readAhead: ReadAhead
        /// Every block asked for, as often as it was.
        var asked: [Int] = []

        init(maximum: Int, trigger: Int = 2, blockCount: Int = 1_000_000, streamsMax: Int = 16) {
            readAhead = ReadAhead(maximum: maximum, trigger: trigger, blockCount: blockCount, streamsMax: streamsMax)
        }

        @discardableResult
        mutating func read(_ lower: Int, _ count: Int = 1) -> Range<Int> {
            let wanted = readAhead.note(BlockNumber(lower)..<BlockNumber(lower + count))
            let range = Int(wanted.lowerBound.rawValue)..<Int(wanted.upperBound.rawValue)
            asked += Array(range)
            return range
        }
    }

    @Test("the window opens with the trigger, doubles, and stays near its maximum", arguments: [1, 2, 16, 100, 128])
    func window(maximum: Int) {
        var reader = Reader(maximum: maximum)
        #expect(reader.read(0).isEmpty)
        #expect(reader.read(1) == 2..<(2 + min(2, maximum)))
        var ahead = 2 + min(2, maximum)
        var furthest = 0
        for block in 2..<2000 {
            let wanted = reader.read(block)
            if !wanted.isEmpty {
                #expect(wanted.lowerBound == max(ahead, block + 1), "nothing is asked for twice or left out")
                ahead = wanted.upperBound
            }
            furthest = max(furthest, ahead - block - 1)
            #expect(ahead - block - 1 <= min(maximum, 2 * (block + 1)), "no more ahead than twice what was read")
            if block > 2 * maximum { #expect(ahead - block - 1 > maximum * 7 / 8 - 1, "the distance shrinks at block \(block)") }
        }
        #expect(furthest == maximum)
        #expect(reader.asked == Array(2..<ahead))
    }

    @Test("requests come in batches of an eighth of the window")
    func batches() {
        var reader = Reader(maximum: 128)
        for block in 0..<1000 { reader.read(block) }
        let sizes = (1000..<1800).map { reader.read($0).count }.filter { $0 > 0 }
        #expect(sizes.count == 50 && sizes.allSatisfy { $0 == 16 })
    }

    @Test("nothing is fetched before the trigger, and all is at once with a trigger of 1", arguments: 1...5)
    func trigger(_ trigger: Int) {
        var reader = Reader(maximum: 64, trigger: trigger)
        for block in 0..<trigger - 1 { #expect(reader.read(block).isEmpty) }
        #expect(reader.read(trigger - 1) == trigger..<2 * trigger)
    }

    @Test("streams that alternate are each read ahead", arguments: 2...16)
    func interleaved(streamCount: Int) {
        var generator = SeededGenerator(seed: UInt64(streamCount))
        var reader = Reader(maximum: 32)
        var positions = (0..<streamCount).map { $0 * 10_000 }
        var ahead = positions
        for _ in 0..<streamCount * 500 {
            let stream = Int.random(in: 0..<streamCount, using: &generator)
            let wanted = reader.read(positions[stream])
            positions[stream] += 1
            guard !wanted.isEmpty else { continue }
            #expect(wanted.lowerBound == max(ahead[stream], positions[stream]), "seed \(streamCount), stream \(stream)")
            ahead[stream] = wanted.upperBound
        }
        for stream in 0..<streamCount {
            #expect((28...32).contains(ahead[stream] - positions[stream]), "seed \(streamCount), stream \(stream)")
        }
    }

    @Test("random reads fetch next to nothing", arguments: [UInt64(1), 2, 3], [1, 32])
    func random(seed: UInt64, count: Int) {
        var generator = SeededGenerator(seed: seed)
        var reader = Reader(maximum: 128)
        for _ in 0..<10_000 { reader.read(Int.random(in: 0..<1_000_000 - count, using: &generator), count) }
        #expect(reader.asked.count < 10_000 * count / 100, "seed \(seed)")
    }

    @Test("a sequential stream outlives random reads beside it")
    func randomBeside() {
        var generator = SeededGenerator(seed: 5)
        var reader = Reader(maximum: 64, blockCount: 100_000_000)
        var ahead = 0
        for block in 0..<200 {
            let wanted = reader.read(block)
            if !wanted.isEmpty { ahead = wanted.upperBound }
            guard block > 1 else { continue }
            for _ in 0..<300 { reader.read(Int.random(in: 1000..<100_000_000, using: &generator)) }
        }
        #expect(ahead >= 200 + 56, "seed 5")
    }

    @Test("streams that ended make room for new ones")
    func oldStreamsMakeRoom() {
        var reader = Reader(maximum: 16)
        for stream in 0..<16 { for block in 0..<50 { reader.read(stream * 10_000 + block) } }
        reader.asked = []
        for block in 0..<200 {
            for stream in 16..<31 { reader.read(stream * 10_000 + block) }
            // Many small reads within a block count as reads, too.
            for _ in 0..<64 { reader.read(999_000) }
        }
        for stream in 16..<31 { #expect(reader.asked.contains(stream * 10_000 + 205), "stream \(stream)") }
    }

    @Test("backward reads fetch nothing", arguments: [1, 8])
    func backwards(count: Int) {
        var reader = Reader(maximum: 128)
        for start in stride(from: 10_000, to: 1000, by: -count) { reader.read(start, count) }
        #expect(reader.asked.isEmpty)
    }

    @Test("reads of parts of a block, and blocks read twice, do not disturb a stream")
    func repeated() {
        var reader = Reader(maximum: 8)
        for block in 0..<100 {
            for _ in 0..<16 { reader.read(block) }
            if block > 2 { reader.read(block - 1) }
        }
        #expect(reader.asked == Array(2..<108))
    }

    @Test("requests that overtake one another are one stream")
    func overtaking() {
        var generator = SeededGenerator(seed: 9)
        var reader = Reader(maximum: 64)
        var waiting: [Int] = []
        var next = 0
        while next < 1000 {
            while waiting.count < 8 {
                waiting.append(next)
                next += 1
            }
            reader.read(waiting.remove(at: next < 20 ? 0 : Int.random(in: 0..<waiting.count, using: &generator)))
        }
        #expect(reader.asked == Array(2..<2 + reader.asked.count), "seed 9")
        #expect(reader.asked.count > 1040, "seed 9")
    }

    @Test("large reads open the window at their own size, from the second on")
    func large() {
        var reader = Reader(maximum: 128)
        #expect(reader.read(0, 32).isEmpty)
        #expect(reader.read(32, 32) == 64..<96)
        #expect(reader.read(64, 32) == 96..<160)
        #expect(reader.read(96, 32) == 160..<256)
        #expect(reader.read(128, 32) == 256..<288)
    }

    @Test("nothing beyond the end of the disk is fetched, and all up to it is", arguments: [1, 2, 3, 10, 100])
    func endOfDisk(blockCount: Int) {
        var reader = Reader(maximum: 64, blockCount: blockCount)
        for block in 0..<blockCount { reader.read(block) }
        #expect(reader.asked == Array(2..<max(2, blockCount)))
        var last = Reader(maximum: 64, blockCount: (1 << 32) - 1)
        for block in (1 << 32) - 10..<(1 << 32) - 1 { last.read(block) }
        #expect(last.asked == Array((1 << 32) - 8..<(1 << 32) - 1))
    }

    @Test("after a seek the window opens anew, and a reader that returns finds its stream")
    func seek() {
        var reader = Reader(maximum: 64)
        for block in 0..<200 { reader.read(block) }
        #expect(reader.read(50_000).isEmpty)
        #expect(reader.read(50_001) == 50_002..<50_004)
        reader.asked = []
        for block in 200..<250 { reader.read(block) }
        #expect(reader.asked.count >= 48)
        #expect(reader.asked.allSatisfy { $0 > 250 && $0 < 320 })
    }

    @Test("a maximum of 0 turns all off")
    func off() {
        var reader = Reader(maximum: 0, trigger: 1)
        for block in 0..<100 { reader.read(block, 4) }
        #expect(reader.asked.isEmpty)
    }
}
