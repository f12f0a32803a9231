// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What an earlier run left.
extension BlockCache {
    /// Asks the storage for what an earlier run left, and has it give up what lies beyond the end of a volume that was larger then.
    ///
    /// - Throws: `.outOfRange`, with their number, when the store does not have some of those blocks; what the storage throws.
    static func restore(
        from storage: any CacheStorage, blockCount: Int
    ) throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet) {
        let (blocks, zeros) = try storage.restore()
        let end = BlockNumber(blockCount)
        let beyond = blocks.filter { $0.block >= end }
        let zerosBeyond = zeros.ranges.last.map {
            $0.upperBound > end ? zeros.intersection(BlockSet(end..<$0.upperBound)) : BlockSet()
        }
        guard !beyond.isEmpty || zerosBeyond?.isEmpty == false else { return (blocks, zeros) }
        // A block that was zeroed and is held was written afterwards.
        let held = BlockSet(blocks: beyond.map(\.block))
        let unsaved = beyond.count { $0.dirty.contains { $0 != 0 } } + (zerosBeyond ?? BlockSet()).subtracting(held).blockCount
        guard unsaved == 0 else {
            throw BlockStoreError(
                .outOfRange,
                "the cache file holds \(unsaved) blocks beyond the end of the volume that the store does not have; mount with the size that the "
                    + "volume had, or give them up with --recoverDirty=discard")
        }
        try storage.forgetZeros(held.intersection(zeros), upTo: storage.mark)
        for block in beyond { try storage.release(block.slot, of: block.block, wasDirty: false) }
        return (blocks.filter { $0.block < end }, zeros.subtracting(held))
    }
}
