// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Decides which blocks to fetch before they are asked for: finds sequential streams among the reads, and keeps a window of
/// blocks ahead of each.
///
/// A read that goes on where an earlier one ended continues its stream; one that repeats, or lies shortly behind (requests
/// overtake one another), leaves it as it is; one that skips ahead within what is fetched already continues it too. Any other
/// read begins a stream, in the place of one that was not used for a while. Once a stream has read `trigger` blocks in order its window
/// opens, and doubles each time the stream has read half of it, so that no more is fetched ahead than about twice what was read.
///
/// ```
///            read                 next          fetched ahead         ahead
///   . . . ===================== | - - - - - - - - - - - - - - - - - | . . . . .
///                               |<------------ window --------------------->|
///                                                                   |< batch>|   at least 1/8 of the window, else wait
/// ```
///
/// A stream that has proved itself outlives ``patience`` reads of others, so that random reads beside it do not push it out.
///
/// - Concurrency: a value; its owner locks. ``note(_:)`` looks at `streamsMax` streams at most, and allocates nothing once there are as many.
struct ReadAhead: Sendable {
    /// How many reads of others a sequential stream outlives, as if each came that much later.
    static let patience: UInt64 = 4096
    /// The part of the window that is asked for at once, at least: small, since the distance ahead shrinks by as much meanwhile.
    private static let batchesPerWindow = 8

    /// One reader that goes through the disk in order.
    private struct Stream: Sendable {
        /// The block after the furthest one read.
        var next: Int
        /// How many blocks were read in order.
        var inOrder = 0
        /// How many reads did that.
        var reads = 0
        /// The block after the last one that was to be fetched ahead; below `next` when that was long ago.
        var ahead = 0
        /// How many blocks may be ahead; 0 until the stream counts as sequential.
        var window = 0
        /// `next` when the window last grew.
        var grownAt = 0
    }

    /// Where a read has to begin to belong to a stream: from `lowest` on, at most `length` further. One comparison tells, which
    /// random reads nearly always fail, so that going through all streams costs a nanosecond for each.
    private struct Reach: Sendable {
        /// Repeats begin here, and requests that others have overtaken.
        var lowest: UInt32 = 0
        /// Up to the last block that is fetched already.
        var length: UInt32 = 0

        func includes(_ first: UInt32) -> Bool { first &- lowest <= length }
    }

    private let maximum: Int
    private let trigger: Int
    private let blockCount: Int
    private let streamsMax: Int
    private var streams: [Stream] = []
    /// For each stream.
    private var reaches: [Reach] = []
    /// For each stream, the read from which on it may give way: the next one, or ``patience`` later for a sequential one.
    private var expiries: [UInt64] = []
    /// The stream used last.
    private var latest = 0
    /// The stream that gave way last; the search for the next one goes on from there, in turn.
    private var hand = 0
    /// How many reads there were.
    private var clock: UInt64 = 0

    /// Knows no stream.
    ///
    /// - Parameters:
    ///   - maximum: How many blocks are fetched ahead of one stream at most; 0 turns all off.
    ///   - trigger: After how many blocks in order a stream counts as sequential; at least 1, which means every read does.
    ///   - blockCount: How many blocks the disk has; nothing beyond is ever asked for.
    ///   - streamsMax: How many streams are told apart; at least 1.
    init(maximum: Int, trigger: Int, blockCount: Int, streamsMax: Int = 16) {
        precondition(maximum >= 0 && trigger >= 1 && streamsMax >= 1, "a window and its trigger are no negative numbers")
        self.maximum = maximum
        self.trigger = trigger
        self.blockCount = blockCount
        self.streamsMax = streamsMax
    }

    /// Takes notice of a read.
    ///
    /// - Parameter blocks: The blocks that were read, in whole or in part; on the disk, not empty.
    /// - Returns: The blocks to fetch now, behind those that were to be fetched for this stream before; mostly empty. Some may be
    ///   in the cache already.
    mutating func note(_ blocks: BlockRange) -> BlockRange {
        let nothing = blocks.upperBound..<blocks.upperBound
        guard maximum > 0 else { return nothing }
        clock &+= 1
        latest = stream(beginningAt: blocks.lowerBound.rawValue)
        let read = Int(blocks.lowerBound.rawValue)..<Int(blocks.upperBound.rawValue)
        guard let wanted = advance(latest, read) else { return nothing }
        return BlockNumber(wanted.lowerBound)..<BlockNumber(wanted.upperBound)
    }

    /// The stream that a read from block `first` on belongs to, or a new one that it begins.
    private mutating func stream(beginningAt first: UInt32) -> Int {
        if latest < reaches.count, reaches[latest].includes(first) { return latest }
        for index in reaches.indices where reaches[index].includes(first) { return index }
        let new = Stream(next: Int(first))
        guard streams.count == streamsMax else {
            streams.append(new)
            reaches.append(Reach())
            expiries.append(0)
            return streams.count - 1
        }
        hand = streamToReplace()
        streams[hand] = new
        return hand
    }

    /// The next stream in turn that may give way; when all are sequential and in use, the one used longest ago.
    private func streamToReplace() -> Int {
        var oldest = hand
        var index = hand
        for _ in 0..<streamsMax {
            index = index + 1 < streamsMax ? index + 1 : 0
            if expiries[index] <= clock { return index }
            if expiries[index] < expiries[oldest] { oldest = index }
        }
        return oldest
    }

    /// Moves the stream `index` on by `read`, and says what to fetch.
    private mutating func advance(_ index: Int, _ read: Range<Int>) -> Range<Int>? {
        expiries[index] = clock &+ (streams[index].window > 0 ? Self.patience : 1)
        guard read.upperBound > streams[index].next else { return nil }
        var stream = streams[index]
        defer { store(stream, index, readCount: read.count) }
        stream.inOrder += read.upperBound - max(read.lowerBound, stream.next)
        stream.reads += 1
        stream.next = read.upperBound
        // One large read at a random place is not a stream.
        guard stream.inOrder >= trigger, stream.reads > 1 || trigger == 1 else { return nil }
        if stream.window == 0 {
            stream.window = min(maximum, max(trigger, read.count))
            stream.grownAt = stream.next
        } else if stream.next - stream.grownAt >= max(1, stream.window / 2) {
            stream.window = min(maximum, stream.window * 2)
            stream.grownAt = stream.next
        }
        let start = max(stream.ahead, stream.next)
        let end = min(blockCount, stream.next + stream.window)
        let isWorthIt = end - start >= max(1, stream.window / Self.batchesPerWindow) || end == blockCount
        guard start < end, isWorthIt else { return nil }
        stream.ahead = end
        return start..<end
    }

    private mutating func store(_ stream: Stream, _ index: Int, readCount: Int) {
        streams[index] = stream
        let lowest = max(0, stream.next - max(readCount, stream.window))
        reaches[index] = Reach(lowest: UInt32(lowest), length: UInt32(max(stream.next, stream.ahead) - lowest))
    }
}
