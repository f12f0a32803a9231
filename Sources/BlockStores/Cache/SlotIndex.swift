// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Finds the slot of a block in the cache: a hash table of 8 bytes an entry, open addressing, linear probing.
///
/// The table grows by doubling, and at last to just what `slotCount` entries need at three quarters full, which is no power of
/// two: 10.7 bytes an entry when the cache is full. An entry is found by its distance from the place that its hash names, so
/// that removing one moves the following ones back and leaves no mark behind: a table that lives long stays as quick as a new one.
///
/// - Concurrency: a value; its owner locks. Looking up allocates nothing.
/// - Source: Knuth, "The Art of Computer Programming", volume 3, section 6.4, algorithms L and R.
struct SlotIndex: Sendable {
    /// A place that holds nothing. No entry looks like it, since there is no block 2^32 - 1 (``BlockGeometry``).
    private static let vacant = UInt64.max
    private static let smallestTable = 16

    /// Block number in the upper half, slot in the lower.
    private var table: [UInt64]
    private let slotCount: Int

    /// How many blocks have a slot.
    private(set) var count = 0

    /// Makes an empty index for at most `slotCount` blocks.
    init(slotCount: Int) {
        precondition(slotCount >= 1, "a cache has at least one slot")
        self.slotCount = slotCount
        table = [UInt64](repeating: Self.vacant, count: min(Self.smallestTable, Self.tableSize(for: slotCount)))
    }

    /// The slot of `block`, or nil.
    func find(_ block: BlockNumber) -> CacheSlot? {
        table.withUnsafeBufferPointer { table in
            let entry = table[Self.place(of: block.rawValue, in: table)]
            return entry == Self.vacant ? nil : CacheSlot(rawValue: UInt32(truncatingIfNeeded: entry))
        }
    }

    /// Notes that `block`, which has none, has the slot `slot`.
    mutating func insert(_ slot: CacheSlot, for block: BlockNumber) {
        precondition(count < slotCount, "there are no more blocks than slots")
        if Self.tableSize(for: count + 1) > table.count { grow() }
        table.withUnsafeMutableBufferPointer { table in
            let place = Self.place(of: block.rawValue, in: UnsafeBufferPointer(table))
            precondition(table[place] == Self.vacant, "a block has one slot")
            table[place] = UInt64(block.rawValue) << 32 | UInt64(slot.rawValue)
        }
        count += 1
    }

    /// Forgets the slot of `block`.
    ///
    /// - Returns: The slot it had, or nil.
    @discardableResult
    mutating func remove(_ block: BlockNumber) -> CacheSlot? {
        let removed = table.withUnsafeMutableBufferPointer { table -> UInt64 in
            let place = Self.place(of: block.rawValue, in: UnsafeBufferPointer(table))
            let entry = table[place]
            if entry != Self.vacant { Self.vacate(place, in: table) }
            return entry
        }
        guard removed != Self.vacant else { return nil }
        count -= 1
        return CacheSlot(rawValue: UInt32(truncatingIfNeeded: removed))
    }

    /// The bytes of the table; for the tests of the cost.
    var tableBytes: Int { table.count * MemoryLayout<UInt64>.stride }

    /// How many places a search for a block that is there looks at, on average; 0 without blocks. For the tests of the cost.
    var meanProbeCount: Double {
        var sum = 0
        for (place, entry) in table.enumerated() where entry != Self.vacant {
            let home = Self.home(of: UInt32(truncatingIfNeeded: entry >> 32), tableSize: table.count)
            sum += Self.distance(from: home, to: place, table.count) + 1
        }
        return count == 0 ? 0 : Double(sum) / Double(count)
    }

    /// The smallest table that `count` entries fill to three quarters at most, so that one place at least is vacant.
    private static func tableSize(for count: Int) -> Int { count + count / 3 + 1 }

    /// Twice the size, but never more than a full cache needs.
    private mutating func grow() {
        let old = table
        let size = min(old.count * 2, Self.tableSize(for: slotCount))
        table = [UInt64](repeating: Self.vacant, count: size)
        table.withUnsafeMutableBufferPointer { table in
            for entry in old where entry != Self.vacant {
                let place = Self.place(of: UInt32(truncatingIfNeeded: entry >> 32), in: UnsafeBufferPointer(table))
                table[place] = entry
            }
        }
    }

    /// Where `block` is, or where it would go: the first vacant place from the one its hash names on.
    private static func place(of block: UInt32, in table: UnsafeBufferPointer<UInt64>) -> Int {
        var place = home(of: block, tableSize: table.count)
        while table[place] != vacant, UInt32(truncatingIfNeeded: table[place] >> 32) != block {
            place += 1
            if place == table.count { place = 0 }
        }
        return place
    }

    /// Empties `place` and moves back each following entry that would no longer be found behind the gap.
    private static func vacate(_ place: Int, in table: UnsafeMutableBufferPointer<UInt64>) {
        var gap = place
        var place = place
        while true {
            place = place + 1 == table.count ? 0 : place + 1
            let entry = table[place]
            if entry == vacant { break }
            let home = home(of: UInt32(truncatingIfNeeded: entry >> 32), tableSize: table.count)
            // The entry may stay if its home lies behind the gap, that is nearer to it, going backwards, than the gap.
            if distance(from: home, to: place, table.count) < distance(from: gap, to: place, table.count) { continue }
            table[gap] = entry
            gap = place
        }
        table[gap] = vacant
    }

    /// How many places `to` is behind `from`, going round at the end.
    private static func distance(from: Int, to: Int, _ tableSize: Int) -> Int {
        to >= from ? to - from : to - from + tableSize
    }

    /// The place that the hash of `block` names. The hash is the finaliser of MurmurHash3: each bit of the number changes
    /// each bit of the hash with probability one half, so that neither neighbours nor blocks at regular distances cluster.
    private static func home(of block: UInt32, tableSize: Int) -> Int {
        var hash = block
        hash = (hash ^ (hash >> 16)) &* 0x85eb_ca6b
        hash = (hash ^ (hash >> 13)) &* 0xc2b2_ae35
        hash ^= hash >> 16
        // hash / 2^32 of the table, without a division.
        return Int((UInt64(hash) &* UInt64(tableSize)) >> 32)
    }
}
