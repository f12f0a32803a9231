// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// One bit for each sector of each slot, in one flat array of words.
///
/// The cache keeps two of these: which sectors are valid, and which are dirty. The bits of a slot stand side by side; slots of
/// fewer than 64 sectors share a word, so that a block of one sector costs one bit. Memory is taken up to the highest slot of
/// which a sector was set; beyond it everything is clear.
///
/// Ranges are sectors of a slot, within `0 ..< sectorsPerSlot`, and may be empty.
///
/// - Concurrency: a value; its owner locks. Nothing but growth and ``words(of:)`` allocates.
struct SectorBits: Sendable {
    /// How many sectors a slot has; a power of two, at most 2^19.
    let sectorsPerSlot: Int
    /// How many words hold the bits of one slot; 1 when several share one.
    let wordsPerSlot: Int

    private let slotCount: Int
    private let shift: Int
    /// The bit of sector `s` of slot `n` is number `n * sectorsPerSlot + s`, from the low end of each word.
    private var bits: [UInt64] = []

    /// Makes the bits of `slotCount` slots, all clear.
    init(sectorsPerSlot: Int, slotCount: Int) {
        precondition(sectorsPerSlot >= 1 && sectorsPerSlot <= 1 << 19, "a block has 1 to 2^19 sectors")
        precondition(sectorsPerSlot & (sectorsPerSlot - 1) == 0, "the sectors of a block are a power of two")
        precondition(slotCount >= 1, "a cache has at least one slot")
        self.sectorsPerSlot = sectorsPerSlot
        self.slotCount = slotCount
        shift = sectorsPerSlot.trailingZeroBitCount
        wordsPerSlot = max(1, sectorsPerSlot / 64)
    }

    /// Sets the bits of `sectors`.
    mutating func set(_ sectors: Range<Int>, of slot: CacheSlot) {
        guard !sectors.isEmpty else { return }
        let positions = positions(of: sectors, slot)
        if positions.upperBound > held.upperBound { grow(toHold: slot) }
        forEachWord(of: positions) { bits[$0] |= $1 }
    }

    /// Clears the bits of `sectors`.
    mutating func clear(_ sectors: Range<Int>, of slot: CacheSlot) {
        forEachWord(of: positions(of: sectors, slot).clamped(to: held)) { bits[$0] &= ~$1 }
    }

    /// Clears all bits of `slot`.
    mutating func clear(_ slot: CacheSlot) { clear(0..<sectorsPerSlot, of: slot) }

    /// Gives `slot` the bits of `words`, as ``words(of:)`` returns them.
    mutating func assign(_ words: [UInt64], to slot: CacheSlot) {
        precondition(words.count == wordsPerSlot, "a slot has as many words as \(wordsPerSlot)")
        clear(slot)
        let positions = positions(of: 0..<sectorsPerSlot, slot)
        guard words.contains(where: { $0 != 0 }) else { return }
        if positions.upperBound > held.upperBound { grow(toHold: slot) }
        let first = positions.lowerBound / 64
        guard sectorsPerSlot < 64 else {
            for index in 0..<wordsPerSlot { bits[first + index] = words[index] }
            return
        }
        precondition(words[0] >> UInt64(sectorsPerSlot) == 0, "no bit stands for a sector that a block does not have")
        bits[first] |= words[0] << UInt64(positions.lowerBound % 64)
    }

    /// Whether the bits of `sectors` are all set; true for none.
    func isAllSet(_ sectors: Range<Int>, of slot: CacheSlot) -> Bool {
        let positions = positions(of: sectors, slot)
        return endOfRun(from: positions.lowerBound, isSet: true, limit: positions.upperBound) == positions.upperBound
    }

    /// Whether the bit of one of `sectors` is set.
    func isAnySet(_ sectors: Range<Int>, of slot: CacheSlot) -> Bool {
        let positions = positions(of: sectors, slot)
        return endOfRun(from: positions.lowerBound, isSet: false, limit: positions.upperBound) != positions.upperBound
    }

    /// Whether all bits of `slot` are set.
    func isFull(_ slot: CacheSlot) -> Bool { isAllSet(0..<sectorsPerSlot, of: slot) }

    /// Whether no bit of `slot` is set.
    func isEmpty(_ slot: CacheSlot) -> Bool { !isAnySet(0..<sectorsPerSlot, of: slot) }

    /// How many bits of `slot` are set.
    func count(of slot: CacheSlot) -> Int { count(in: 0..<sectorsPerSlot, of: slot) }

    /// How many bits of `sectors` are set.
    func count(in sectors: Range<Int>, of slot: CacheSlot) -> Int {
        var count = 0
        forEachWord(of: positions(of: sectors, slot).clamped(to: held)) { count += (bits[$0] & $1).nonzeroBitCount }
        return count
    }

    /// A copy of the bits of `slot`: ``wordsPerSlot`` words, bit 0 of word 0 is the first sector, the rest of the last is zero.
    func words(of slot: CacheSlot) -> [UInt64] {
        let first = (Int(slot.rawValue) << shift) / 64
        guard first < bits.count else { return [UInt64](repeating: 0, count: wordsPerSlot) }
        guard sectorsPerSlot < 64 else { return Array(bits[first..<first + wordsPerSlot]) }
        let position = (Int(slot.rawValue) << shift) % 64
        return [bits[first] >> UInt64(position) & (1 << UInt64(sectorsPerSlot) - 1)]
    }

    /// The first longest run of sectors in `sectors` whose bits are set, or nil.
    func firstSetRun(in sectors: Range<Int>, of slot: CacheSlot) -> Range<Int>? { firstRun(isSet: true, in: sectors, slot) }

    /// The first longest run of sectors in `sectors` whose bits are clear, or nil.
    func firstClearRun(in sectors: Range<Int>, of slot: CacheSlot) -> Range<Int>? { firstRun(isSet: false, in: sectors, slot) }

    /// Calls `body` with each longest run of sectors in `sectors` whose bits are set, in order.
    func forEachSetRun<Failure: Error>(
        in sectors: Range<Int>, of slot: CacheSlot, _ body: (Range<Int>) throws(Failure) -> Void
    ) throws(Failure) {
        try forEachRun(isSet: true, in: sectors, slot, body)
    }

    /// Calls `body` with each longest run of sectors in `sectors` whose bits are clear, in order.
    func forEachClearRun<Failure: Error>(
        in sectors: Range<Int>, of slot: CacheSlot, _ body: (Range<Int>) throws(Failure) -> Void
    ) throws(Failure) {
        try forEachRun(isSet: false, in: sectors, slot, body)
    }

    /// The bytes that the bits take; for the tests of the cost.
    var byteCount: Int { bits.count * 8 }

    /// The positions that have memory.
    private var held: Range<Int> { 0..<bits.count * 64 }

    private func positions(of sectors: Range<Int>, _ slot: CacheSlot) -> Range<Int> {
        precondition(sectors.upperBound <= sectorsPerSlot && Int(slot.rawValue) < slotCount, "no such sector")
        let base = Int(slot.rawValue) << shift
        return base + sectors.lowerBound..<base + sectors.upperBound
    }

    /// Takes memory for all of `slot` and, so that this is rare, for twice as many slots as before, up to as many as there are.
    private mutating func grow(toHold slot: CacheSlot) {
        let needed = (((Int(slot.rawValue) + 1) << shift) + 63) / 64
        let all = ((slotCount << shift) + 63) / 64
        let target = min(all, max(needed, bits.count * 2))
        bits.reserveCapacity(target)
        bits.append(contentsOf: repeatElement(0, count: target - bits.count))
    }

    private func forEachRun<Failure: Error>(
        isSet: Bool, in sectors: Range<Int>, _ slot: CacheSlot, _ body: (Range<Int>) throws(Failure) -> Void
    ) throws(Failure) {
        var rest = sectors
        while let run = firstRun(isSet: isSet, in: rest, slot) {
            try body(run)
            rest = run.upperBound..<sectors.upperBound
        }
    }

    private func firstRun(isSet: Bool, in sectors: Range<Int>, _ slot: CacheSlot) -> Range<Int>? {
        let positions = positions(of: sectors, slot)
        let start = endOfRun(from: positions.lowerBound, isSet: !isSet, limit: positions.upperBound)
        guard start < positions.upperBound else { return nil }
        let end = endOfRun(from: start, isSet: isSet, limit: positions.upperBound)
        let base = Int(slot.rawValue) << shift
        return start - base..<end - base
    }

    /// The first position from `start` on whose bit is not `isSet`, or `limit`; a word at a time.
    private func endOfRun(from start: Int, isSet: Bool, limit: Int) -> Int {
        var position = start
        while position < limit {
            guard position / 64 < bits.count else { return isSet ? position : limit }
            let word = bits[position / 64]
            let different = (isSet ? ~word : word) >> UInt64(position % 64)
            if different != 0 { return min(limit, position + different.trailingZeroBitCount) }
            position = (position / 64 + 1) * 64
        }
        return limit
    }
}
