// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// One bit for each block of a disk, in memory that is taken only where bits differ from their neighbours.
///
/// The bits stand in chunks of 32 KiB. A chunk without a set bit has no memory, and all chunks that were set as a whole share
/// one: 2^32 blocks cost 256 KiB at start, not 512 MiB, and no more after a trim of the whole disk.
struct BlockBitmap: Sendable {
    private static let wordsPerChunkMax = 4096

    private let blockCount: Int
    private let bitsPerChunk: Int
    /// The one chunk with every bit set, also those beyond the last block, which nobody looks at.
    private let fullChunk: [UInt64]
    private var chunks: [[UInt64]]
    /// How many bits of each chunk are set.
    private var setCounts: [Int]

    /// How many bits are set.
    private(set) var count = 0

    /// Makes a bitmap of `blockCount` bits, none of them set.
    init(blockCount: Int) {
        let words = min(Self.wordsPerChunkMax, (blockCount + 63) / 64)
        self.blockCount = blockCount
        bitsPerChunk = words * 64
        fullChunk = [UInt64](repeating: .max, count: words)
        let chunkCount = (blockCount + bitsPerChunk - 1) / bitsPerChunk
        chunks = [[UInt64]](repeating: [], count: chunkCount)
        setCounts = [Int](repeating: 0, count: chunkCount)
    }

    /// Whether the bit of `block` is set. Allocates nothing.
    func contains(_ block: BlockNumber) -> Bool { isSet(Int(block.rawValue)) }

    /// Sets the bit of `block`.
    mutating func insert(_ block: BlockNumber) {
        guard !contains(block) else { return }
        let (chunk, bit) = Int(block.rawValue).quotientAndRemainder(dividingBy: bitsPerChunk)
        if chunks[chunk].isEmpty { chunks[chunk] = emptyChunk }
        chunks[chunk][bit / 64] |= 1 << UInt64(bit % 64)
        add(1, toCountOf: chunk)
    }

    /// Clears the bit of `block`.
    mutating func remove(_ block: BlockNumber) {
        guard contains(block) else { return }
        let (chunk, bit) = Int(block.rawValue).quotientAndRemainder(dividingBy: bitsPerChunk)
        chunks[chunk][bit / 64] &= ~(1 << UInt64(bit % 64))
        add(-1, toCountOf: chunk)
    }

    /// Sets the bits of all `blocks`.
    mutating func insert(_ blocks: BlockSet) {
        forEachPart(of: blocks) { bitmap, chunk, bits in
            bitmap.add(bits.count - bitmap.setCount(in: bits, ofChunk: chunk), toCountOf: chunk)
            if bitmap.isWholeChunk(bits, chunk) {
                bitmap.chunks[chunk] = bitmap.fullChunk
            } else {
                if bitmap.chunks[chunk].isEmpty { bitmap.chunks[chunk] = bitmap.emptyChunk }
                forEachWord(of: bits) { bitmap.chunks[chunk][$0] |= $1 }
            }
        }
    }

    /// Clears the bits of all `blocks`.
    mutating func remove(_ blocks: BlockSet) {
        forEachPart(of: blocks) { bitmap, chunk, bits in
            guard !bitmap.chunks[chunk].isEmpty else { return }
            bitmap.add(-bitmap.setCount(in: bits, ofChunk: chunk), toCountOf: chunk)
            if bitmap.isWholeChunk(bits, chunk) {
                bitmap.chunks[chunk] = []
            } else {
                forEachWord(of: bits) { bitmap.chunks[chunk][$0] &= ~$1 }
            }
        }
    }

    /// Calls `body` with each longest run of equal bits in `blocks`, in order, and with whether they are set.
    func forEachRun(in blocks: BlockRange, _ body: (BlockRange, Bool) -> Void) {
        var position = Int(blocks.lowerBound.rawValue)
        let limit = Int(blocks.upperBound.rawValue)
        while position < limit {
            let isSet = isSet(position)
            let end = endOfRun(from: position, isSet: isSet, limit: limit)
            body(BlockNumber(position)..<BlockNumber(end), isSet)
            position = end
        }
    }

    private var emptyChunk: [UInt64] { [UInt64](repeating: 0, count: fullChunk.count) }

    private func isSet(_ position: Int) -> Bool {
        let (chunk, bit) = position.quotientAndRemainder(dividingBy: bitsPerChunk)
        guard !chunks[chunk].isEmpty else { return false }
        return chunks[chunk][bit / 64] >> UInt64(bit % 64) & 1 == 1
    }

    /// The first position from `start` on whose bit is not `isSet`, or `limit`; a word at a time.
    private func endOfRun(from start: Int, isSet: Bool, limit: Int) -> Int {
        var position = start
        while position < limit {
            let (chunk, bit) = position.quotientAndRemainder(dividingBy: bitsPerChunk)
            guard !chunks[chunk].isEmpty else {
                if isSet { return position }
                position = (chunk + 1) * bitsPerChunk
                continue
            }
            let word = chunks[chunk][bit / 64]
            let different = (isSet ? ~word : word) >> UInt64(bit % 64)
            if different != 0 { return min(limit, position + different.trailingZeroBitCount) }
            position = (position / 64 + 1) * 64
        }
        return limit
    }

    /// Whether `bits` are all bits of the chunk that stand for a block.
    private func isWholeChunk(_ bits: Range<Int>, _ chunk: Int) -> Bool {
        bits.lowerBound == 0 && bits.upperBound == min(bitsPerChunk, blockCount - chunk * bitsPerChunk)
    }

    private mutating func add(_ difference: Int, toCountOf chunk: Int) {
        setCounts[chunk] += difference
        count += difference
    }

    private func setCount(in bits: Range<Int>, ofChunk chunk: Int) -> Int {
        guard !isWholeChunk(bits, chunk), !chunks[chunk].isEmpty else { return setCounts[chunk] }
        var count = 0
        forEachWord(of: bits) { count += (chunks[chunk][$0] & $1).nonzeroBitCount }
        return count
    }

    /// Cuts `blocks` at the borders of chunks.
    private mutating func forEachPart(of blocks: BlockSet, _ body: (inout BlockBitmap, _ chunk: Int, Range<Int>) -> Void) {
        for range in blocks.ranges {
            var position = Int(range.lowerBound.rawValue)
            let limit = Int(range.upperBound.rawValue)
            while position < limit {
                let (chunk, bit) = position.quotientAndRemainder(dividingBy: bitsPerChunk)
                let end = min(limit, (chunk + 1) * bitsPerChunk)
                body(&self, chunk, bit..<bit + (end - position))
                position = end
            }
        }
    }
}

/// Calls `body` with the index of each word of 64 bits that `bits` touches, and with a mask of the bits meant there.
func forEachWord(of bits: Range<Int>, _ body: (_ index: Int, _ mask: UInt64) -> Void) {
    var position = bits.lowerBound
    while position < bits.upperBound {
        let end = min(bits.upperBound, (position / 64 + 1) * 64)
        let ones = UInt64.max >> UInt64(64 - (end - position))
        body(position / 64, ones << UInt64(position % 64))
        position = end
    }
}
