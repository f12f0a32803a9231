// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// The rules, as functions without effects: each returns the broken one in words, or nil.
extension CheckedStore {
    /// A block lies on the disk.
    func violation(ofBlock block: BlockNumber) -> String? {
        geometry.allBlocks.contains(block) ? nil : "block \(block) is asked for, of \(geometry.blockCount) blocks"
    }

    /// All blocks of a set lie on the disk.
    func violation(ofBlocks blocks: BlockSet) -> String? {
        guard let last = blocks.ranges.last?.upperBound, last > geometry.allBlocks.upperBound else { return nil }
        return "blocks up to \(last) are asked for, of \(geometry.blockCount) blocks"
    }

    /// Contents are a whole block.
    func violation(ofContents contents: BlockContents) -> String? {
        guard case .bytes(let slice) = contents, slice.count != geometry.blockSize else { return nil }
        return "a block has \(slice.count) bytes instead of \(geometry.blockSize)"
    }

    /// A version `.zero` belongs to zeros only.
    func violation(ofVersion version: BlockVersion, of contents: BlockContents) -> String? {
        version == .zero && !contents.isAllZeros ? "a block that holds data has the version of zeros" : nil
    }

    /// An answer is a whole block with a fitting version, or "unchanged" where a version was known.
    func violation(ofAnswer answer: BlockRead, known: BlockVersion?) -> String? {
        switch answer {
        case .unchanged:
            known == nil || known == .unknown ? "\"unchanged\" is answered where no version was known" : nil
        case .block(let contents, let version):
            violation(ofContents: contents) ?? violation(ofVersion: version, of: contents)
        }
    }

    /// Extents cover `blocks` exactly, in order, neighbours of different kinds.
    func violation(ofExtents extents: [BlockExtent], in blocks: BlockRange) -> String? {
        var next = blocks.lowerBound
        var kind: BlockExtent.Kind?
        for extent in extents {
            guard !extent.blocks.isEmpty else { return "an extent is empty" }
            guard extent.blocks.lowerBound == next else { return "extents leave out or repeat block \(next)" }
            guard extent.kind != kind else { return "neighbouring extents at block \(next) are of one kind" }
            next = extent.blocks.upperBound
            kind = extent.kind
        }
        return next == blocks.upperBound || blocks.isEmpty && extents.isEmpty ? nil : "extents end at block \(next)"
    }

    /// The mutations that run at present.
    struct MutationsInFlight: Sendable {
        private var blocks: Set<BlockNumber> = []
        private var sets: [BlockSet] = []

        /// A write begins; returns the broken rule, if another mutation of the block runs.
        mutating func begin(_ block: BlockNumber) -> String? {
            guard !sets.contains(where: { $0.contains(block) }), blocks.insert(block).inserted else {
                return "two mutations of block \(block) run at once"
            }
            return nil
        }

        /// A write has ended.
        mutating func end(_ block: BlockNumber) { blocks.remove(block) }

        /// Zeroing begins; returns the broken rule, if another mutation of one of the blocks runs.
        mutating func begin(_ set: BlockSet) -> String? {
            guard !sets.contains(where: { !$0.isDisjoint(set) }), !blocks.contains(where: set.contains) else {
                return "blocks are zeroed while another mutation of one of them runs"
            }
            sets.append(set)
            return nil
        }

        /// Zeroing has ended.
        mutating func end(_ set: BlockSet) {
            if let index = sets.firstIndex(of: set) { sets.remove(at: index) }
        }
    }
}
