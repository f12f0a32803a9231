// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The number of a block, counted from 0; 32 bits, since object names have eight hexadecimal digits.
public struct BlockNumber: RawRepresentable, Hashable, Comparable, Strideable, Sendable, CustomStringConvertible {
    /// The number itself.
    public let rawValue: UInt32

    /// Makes a block number.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Makes a block number.
    public init(_ number: some BinaryInteger) { self.rawValue = UInt32(number) }

    /// In the order of the disk.
    public static func < (left: BlockNumber, right: BlockNumber) -> Bool { left.rawValue < right.rawValue }
    /// How many blocks on `other` is.
    public func distance(to other: BlockNumber) -> Int { Int(other.rawValue) - Int(rawValue) }
    /// The block `count` blocks on.
    public func advanced(by count: Int) -> BlockNumber { BlockNumber(Int(rawValue) + count) }
    /// Eight hexadecimal digits, as in object names and log lines.
    public var description: String {
        let digits = String(rawValue, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

/// A run of neighbouring blocks.
public typealias BlockRange = Range<BlockNumber>

/// Any set of blocks, kept as sorted runs: a trim of 4 GiB costs one run, not a million numbers.
public typealias BlockSet = RangeSet<BlockNumber>

extension RangeSet<BlockNumber> {
    /// How many blocks are in the set.
    public var blockCount: Int { ranges.reduce(0) { $0 + $1.count } }

    /// The blocks in ascending order, made one at a time.
    public var blocks: some Sequence<BlockNumber> { ranges.lazy.flatMap { $0 } }

    /// A set of the given blocks, in any order.
    public init(blocks: some Sequence<BlockNumber>) {
        self.init()
        for block in blocks { insert(contentsOf: block..<block.advanced(by: 1)) }
    }
}

/// The part of one block that a byte range covers.
public struct BlockPiece: Hashable, Sendable {
    /// Which block.
    public let block: BlockNumber
    /// Which of its bytes, within `0 ..< blockSize`; never empty.
    public let range: Range<Int>
    /// Where these bytes lie in the byte range that was cut up, counted from its start.
    public let offsetInRequest: Int
}

/// How a disk is cut into blocks: the only place where offsets, sizes, counts and block numbers meet.
public struct BlockGeometry: Hashable, Sendable {
    /// The bytes of each block; a power of two.
    public let blockSize: Int
    /// The number of blocks; at least 1, below 2^32.
    public let blockCount: Int

    /// Makes a geometry.
    ///
    /// - Returns: Nil when `blockSize` is no power of two, or `blockCount` is not in `1 ..< 2^32`.
    public init?(blockSize: Int, blockCount: Int) {
        guard blockSize > 0, blockSize & (blockSize - 1) == 0 else { return nil }
        guard blockCount > 0, blockCount < 1 << 32 else { return nil }
        guard !blockCount.multipliedReportingOverflow(by: blockSize).overflow else { return nil }
        self.blockSize = blockSize
        self.blockCount = blockCount
    }

    /// The bytes of the whole disk.
    public var sizeBytes: UInt64 { UInt64(blockCount) * UInt64(blockSize) }

    /// All blocks.
    public var allBlocks: BlockRange { BlockNumber(0)..<BlockNumber(blockCount) }

    /// Where `block` starts on the disk, in bytes.
    public func offset(of block: BlockNumber) -> UInt64 { UInt64(block.rawValue) * UInt64(blockSize) }

    /// Whether the byte range lies on the disk.
    public func contains(_ bytes: Range<UInt64>) -> Bool { bytes.upperBound <= sizeBytes }

    /// The blocks that `bytes` touches, wholly or in part. `bytes` lies on the disk.
    public func blocks(touching bytes: Range<UInt64>) -> BlockRange {
        let size = UInt64(blockSize)
        let first = BlockNumber(bytes.lowerBound / size)
        guard !bytes.isEmpty else { return first..<first }
        return first..<BlockNumber((bytes.upperBound - 1) / size + 1)
    }

    /// The blocks that lie wholly within `bytes`; may be empty. `bytes` lies on the disk.
    public func blocks(within bytes: Range<UInt64>) -> BlockRange {
        let size = UInt64(blockSize)
        let first = BlockNumber((bytes.lowerBound + size - 1) / size)
        return first..<max(first, BlockNumber(bytes.upperBound / size))
    }

    /// The part of `block` that `bytes` covers. `block` is one of `blocks(touching: bytes)`.
    public func piece(of block: BlockNumber, in bytes: Range<UInt64>) -> BlockPiece {
        let start = offset(of: block)
        let lower = max(bytes.lowerBound, start)
        let upper = min(bytes.upperBound, start + UInt64(blockSize))
        precondition(lower < upper, "the block is not in the byte range")
        return BlockPiece(
            block: block, range: Int(lower - start)..<Int(upper - start), offsetInRequest: Int(lower - bytes.lowerBound))
    }

    /// Whether `piece` is the whole of its block.
    public func isWhole(_ piece: BlockPiece) -> Bool { piece.range.count == blockSize }
}
