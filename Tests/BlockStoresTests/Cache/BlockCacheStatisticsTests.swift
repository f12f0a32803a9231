// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import BlockStores

@Suite("What the block cache counts") struct BlockCacheStatisticsTests {
    /// The counters of a fixture: hits and misses of reads, then of writes.
    private static func counts(_ fixture: CacheFixture) -> [UInt64] {
        let statistics = fixture.cache.statistics
        return [statistics.readHits, statistics.readMisses, statistics.writeHits, statistics.writeMisses]
    }

    @Test("a read that had to ask the store is one miss, and no hit when it finds the block held afterwards")
    func reads() throws {
        try CacheFixture.run(.test(slots: 8)) { fixture in
            for block in 0..<4 { try await fixture.store(7, in: block) }
            for block in 0..<4 { _ = try await fixture.read(0..<32, of: block) }
            #expect(Self.counts(fixture) == [0, 4, 0, 0])
            for block in 0..<4 { _ = try await fixture.read(32..<64, of: block) }
            #expect(Self.counts(fixture) == [4, 4, 0, 0])
            // Sectors that the writer did not bring: the block is held, and has to be asked for all the same.
            try await fixture.store(7, in: 5)
            try await fixture.write(1, at: 0..<32, of: 5)
            _ = try await fixture.read(0..<64, of: 5)
            #expect(Self.counts(fixture) == [4, 5, 0, 1])
        }
    }

    @Test("a write to a part of a sector that has to be fetched is one miss, and no hit when the block has come")
    func writes() throws {
        try CacheFixture.run(.test(slots: 8)) { fixture in
            for block in 0..<3 { try await fixture.store(7, in: block) }
            for block in 0..<3 { try await fixture.write(1, at: 5..<9, of: block) }
            #expect(fixture.memory.counts.reads == 3 && Self.counts(fixture) == [0, 0, 0, 3])
            for block in 0..<3 { try await fixture.write(2, at: 5..<9, of: block) }
            #expect(fixture.memory.counts.reads == 3 && Self.counts(fixture) == [0, 0, 3, 3])
        }
    }

    @Test("a writer that waited for room is counted once, as what it met in the end")
    func waits() throws {
        try CacheFixture.run(.test(slots: 2)) { fixture in
            for block in 0..<6 { try await fixture.write(1, of: block) }
            #expect(Self.counts(fixture) == [0, 0, 0, 6] && fixture.cache.statistics.writerWaits > 0)
        }
    }

    @Test("a known zero counts for the reads and the writes of zeros that it answers, and for nothing that is only planned")
    func zeros() throws {
        try CacheFixture.run(.test(slots: 8)) { fixture in
            for block in 0..<4 { _ = try await fixture.read(of: block) }
            fixture.zeroMap.resetStatistics()
            for block in 0..<3 { _ = try await fixture.read(of: block) }
            #expect([fixture.zeroMap.statistics.readHits, fixture.zeroMap.statistics.writeHits] == [3, 0])
            try await fixture.write(1, at: 0..<32, of: 0)
            try await fixture.write(1, at: 5..<9, of: 1)
            try await fixture.cache.zero(BlockSet(BlockNumber(2)..<BlockNumber(3)), .foreground)
            #expect([fixture.zeroMap.statistics.readHits, fixture.zeroMap.statistics.writeHits] == [3, 1])
        }
    }
}
