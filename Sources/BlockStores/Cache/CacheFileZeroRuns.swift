// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Which blocks are zeros though the store may not have seen it, each with the sequence of its zeroing: sorted runs.
struct CacheFileZeroRuns: Equatable, Sendable {
    /// Neighbouring blocks that were zeroed together.
    struct Run: Equatable, Sendable {
        /// The first.
        var lower: UInt64
        /// One past the last; 64 bits, since 2^32 is possible.
        var upper: UInt64
        /// When.
        var sequence: UInt64
    }

    /// The runs, in order, apart.
    private(set) var runs: [Run] = []

    /// The blocks alone.
    var blocks: BlockSet {
        var set = BlockSet()
        for run in runs { set.insert(contentsOf: BlockNumber(run.lower)..<BlockNumber(run.upper)) }
        return set
    }

    /// When `block` was zeroed, if it is in the set.
    func sequence(of block: BlockNumber) -> UInt64? {
        let number = UInt64(block.rawValue)
        let index = firstIndex(endingAfter: number)
        guard index < runs.count, runs[index].lower <= number else { return nil }
        return runs[index].sequence
    }

    /// `range` was zeroed at `sequence`, later than whatever is known of it.
    mutating func insert(_ range: Range<UInt64>, at sequence: UInt64) {
        replace(range, with: Run(lower: range.lowerBound, upper: range.upperBound, sequence: sequence))
    }

    /// `range` is not in the set any more.
    mutating func remove(_ range: Range<UInt64>) { replace(range, with: nil) }

    /// The runs within `range`, cut to it.
    func runs(in range: Range<UInt64>) -> [Run] {
        var result: [Run] = []
        var index = firstIndex(endingAfter: range.lowerBound)
        while index < runs.count, runs[index].lower < range.upperBound {
            var run = runs[index]
            run.lower = max(run.lower, range.lowerBound)
            run.upper = min(run.upper, range.upperBound)
            result.append(run)
            index += 1
        }
        return result
    }

    private mutating func replace(_ range: Range<UInt64>, with middle: Run?) {
        guard !range.isEmpty else { return }
        let first = firstIndex(endingAfter: range.lowerBound)
        var end = first
        var pieces: [Run] = []
        while end < runs.count, runs[end].lower < range.upperBound { end += 1 }
        if first < end, runs[first].lower < range.lowerBound {
            pieces.append(Run(lower: runs[first].lower, upper: range.lowerBound, sequence: runs[first].sequence))
        }
        if let middle { pieces.append(middle) }
        if first < end, runs[end - 1].upper > range.upperBound {
            pieces.append(Run(lower: range.upperBound, upper: runs[end - 1].upper, sequence: runs[end - 1].sequence))
        }
        runs.replaceSubrange(first..<end, with: pieces)
    }

    private func firstIndex(endingAfter number: UInt64) -> Int {
        var lower = 0
        var upper = runs.count
        while lower < upper {
            let middle = (lower + upper) / 2
            if runs[middle].upper <= number { lower = middle + 1 } else { upper = middle }
        }
        return lower
    }
}

/// One entry of the zero log.
///
/// - Source: Docs/Formats/CacheFile.md "Zero logs".
struct CacheFileZeroEvent: Equatable, Sendable {
    /// What happened.
    enum Kind: UInt32, Sendable {
        /// The blocks were zeroed.
        case zeroed = 1
        /// The store has seen every zeroing of these blocks up to the sequence.
        case forgotten = 2
    }
    /// What happened.
    var kind: Kind
    /// To which blocks.
    var range: Range<UInt64>
    /// When, or up to when.
    var sequence: UInt64

    /// Describes an event.
    init(_ kind: Kind, _ range: Range<UInt64>, _ sequence: UInt64) {
        self.kind = kind
        self.range = range
        self.sequence = sequence
    }

    /// Reads an entry.
    ///
    /// - Returns: Nil for one that is empty, damaged, or of another generation.
    init?(_ bytes: UnsafeRawBufferPointer, generation: UInt32, seed: UInt64) {
        let check = cacheFileCheck(bytes.part(0, 24), seed: seed ^ UInt64(generation))
        guard let kind = Kind(rawValue: bytes.half(at: 16)), check == bytes.word(at: 24) else { return nil }
        let lower = UInt64(bytes.half(at: 0))
        let count = UInt64(bytes.half(at: 4))
        guard lower + count < 1 << 32, bytes.word(at: 8) < CacheFileLayout.sequenceEnd else { return nil }
        self.init(kind, lower..<lower + count, bytes.word(at: 8))
    }

    /// Writes the entry.
    func encode(into bytes: UnsafeMutableRawBufferPointer, generation: UInt32, seed: UInt64) {
        bytes.store(UInt32(range.lowerBound), at: 0)
        bytes.store(UInt32(range.count), at: 4)
        bytes.store(sequence, at: 8)
        bytes.store(kind.rawValue, at: 16)
        bytes.store(UInt32(0), at: 20)
        let check = cacheFileCheck(UnsafeRawBufferPointer(bytes).part(0, 24), seed: seed ^ UInt64(generation))
        bytes.store(check, at: 24)
    }

    /// What a log of events comes to.
    ///
    /// - Returns: The blocks that are zeroed; and up to when the zeroing of which blocks has been forgotten.
    static func replay(_ events: [CacheFileZeroEvent]) -> (zeroed: CacheFileZeroRuns, forgotten: CacheFileZeroRuns) {
        var zeroed = CacheFileZeroRuns()
        var forgotten = CacheFileZeroRuns()
        // A zeroing comes before the event that forgets it: that one has its sequence.
        let ordered = events.sorted { ($0.sequence, $0.kind.rawValue) < ($1.sequence, $1.kind.rawValue) }
        for event in ordered {
            switch event.kind {
            case .zeroed: zeroed.insert(event.range, at: event.sequence)
            case .forgotten:
                zeroed.remove(event.range)
                forgotten.insert(event.range, at: event.sequence)
            }
        }
        return (zeroed, forgotten)
    }
}
