// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension [BlockExtent] {
    /// Adds `blocks`, which follow on the last extent; neighbours of one kind are joined, and no blocks add nothing.
    mutating func append(_ blocks: BlockRange, _ kind: BlockExtent.Kind) {
        guard !blocks.isEmpty else { return }
        if let last, last.kind == kind {
            precondition(last.blocks.upperBound == blocks.lowerBound, "extents follow on one another")
            self[count - 1] = BlockExtent(blocks: last.blocks.lowerBound..<blocks.upperBound, kind: kind)
        } else {
            append(BlockExtent(blocks: blocks, kind: kind))
        }
    }
}
