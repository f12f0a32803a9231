// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Testing

@testable import BlockStores

@Suite("Bytes that the cache lends") struct BlockCacheLendingTests {
    private static let block = BlockNumber(3)

    /// Offers a write of `value` to `range`, to be taken at once.
    private static func offer(_ value: UInt8, at range: Range<Int>, _ cache: BlockCache) -> Bool {
        [UInt8](repeating: value, count: range.count).withUnsafeBytes { cache.writeNow($0, at: range, of: block) }
    }

    @Test("held bytes are shown where they are, and stay as they are until the reader is done")
    func lent() throws {
        try CacheFixture.run(.test(slots: 4)) { fixture in
            let (cache, size) = (fixture.cache, CacheFixture.sectorSize)
            try await fixture.write(7, of: 3)
            var shown: [UInt8] = []
            let answer = cache.readNow(5..<size + 5, of: Self.block) { span in
                #expect(!Self.offer(8, at: 0..<size, cache) && !Self.offer(8, at: size..<2 * size, cache))
                #expect(Self.offer(9, at: 2 * size..<3 * size, cache))
                #expect(cache.readNow(0..<size, of: Self.block) != nil)
                shown = span.withUnsafeBytes { Array($0) }
            }
            guard case .lent = answer else {
                Issue.record("\(answer)")
                return
            }
            #expect(shown == [UInt8](repeating: 7, count: size))
            #expect(Self.offer(8, at: 0..<2 * size, cache))
            let expected = [UInt8](repeating: 8, count: 2 * size) + [UInt8](repeating: 9, count: size)
            #expect(try await fixture.read(0..<3 * size, of: 3) == expected)
            #expect(cache.statistics.readHits == 3)
        }
    }

    @Test("zeros are no bytes to show, and a read with zeros in it is put together in memory of its own")
    func zeros() throws {
        try CacheFixture.run(.test(slots: 4)) { fixture in
            let (cache, size) = (fixture.cache, CacheFixture.sectorSize)
            try await cache.zero(BlockSet(Self.block..<Self.block.advanced(by: 1)), .foreground)
            try await fixture.write(7, at: 0..<size, of: 3)
            let answer = cache.readNow(0..<2 * size, of: Self.block) { _ in _ = Issue.record("something was shown") }
            guard case .bytes(.bytes(let slice)) = answer else {
                Issue.record("\(answer)")
                return
            }
            #expect(slice.bytes == [UInt8](repeating: 7, count: size) + [UInt8](repeating: 0, count: size))
            guard case .bytes(.zero) = cache.readNow(size..<2 * size, of: Self.block, lending: { _ in }) else {
                Issue.record("zeros are not told as such")
                return
            }
            guard case .notNow = cache.readNow(0..<1, of: BlockNumber(9), lending: { _ in }) else {
                Issue.record("what is not held was shown")
                return
            }
        }
    }

    @Test("what a storage does not lend is copied")
    func copied() throws {
        let storage = BrokenStorage(next: try MemoryCacheStorage(slotCount: 4, blockSize: CacheFixture.blockSize), flaw: nil)
        try CacheFixture.run(.test(slots: 4), storage: storage) { fixture in
            try await fixture.write(7, of: 3)
            let answer = fixture.cache.readNow(0..<100, of: Self.block) { _ in _ = Issue.record("something was shown") }
            guard case .bytes(.bytes(let slice)) = answer else {
                Issue.record("\(answer)")
                return
            }
            #expect(slice.bytes == [UInt8](repeating: 7, count: 100))
        }
    }
}
