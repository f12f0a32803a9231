// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// The bytes of a block, or of a part of one. Zeros are a value of their own: nobody stores, moves or scans them.
public enum BlockContents: Sendable {
    /// Zeros throughout.
    case zero
    /// These bytes. They may happen to be zeros; a layer that cares looks once, with ``BufferSlice/isAllZeros``.
    case bytes(BufferSlice)

    /// Whether every byte is zero, looking at the bytes if need be.
    public var isAllZeros: Bool {
        switch self {
        case .zero: true
        case .bytes(let slice): slice.isAllZeros
        }
    }

    /// The part `range` of these contents.
    public func part(_ range: Range<Int>) -> BlockContents {
        switch self {
        case .zero: .zero
        case .bytes(let slice): .bytes(slice.slice(range))
        }
    }

    /// Copies the bytes to `target`, whose count is that of the contents.
    public func copy(to target: UnsafeMutableRawBufferPointer) {
        switch self {
        case .zero:
            target.initializeMemory(as: UInt8.self, repeating: 0)
        case .bytes(let slice):
            precondition(slice.count == target.count, "source and target are of one size")
            slice.withBytes { target.copyMemory(from: $0) }
        }
    }
}

/// Which state of a block somebody has seen; equal tags mean equal bytes.
public enum BlockVersion: Hashable, Sendable {
    /// The block is zeros.
    case zero
    /// An opaque name of the bytes (the object's ETag in the direct layout).
    case tag(String)
    /// Not known. Never validates: `read(_:ifNot:)` always answers with the block.
    case unknown
}

/// The answer to a read.
public enum BlockRead: Sendable {
    /// The block still has the version that the caller knows.
    case unchanged
    /// The whole block, and the version these bytes have.
    case block(BlockContents, BlockVersion)
}

/// What a flush covers.
public enum FlushScope: Sendable {
    /// Every block.
    case everything
    /// These blocks, as for a write with FUA.
    case blocks(BlockSet)
}

/// A run of blocks that are all data, or all zeros.
public struct BlockExtent: Hashable, Sendable {
    /// What is known of the blocks.
    public enum Kind: Hashable, Sendable {
        /// May hold anything; what is not known is data.
        case data
        /// Reads as zeros.
        case zero
    }
    /// Which blocks; never empty.
    public let blocks: BlockRange
    /// What they hold.
    public let kind: Kind

    /// Describes `blocks`.
    public init(blocks: BlockRange, kind: Kind) {
        self.blocks = blocks
        self.kind = kind
    }
}
