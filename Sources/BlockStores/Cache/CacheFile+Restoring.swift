// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Logging
internal import Synchronization

extension CacheFile {
    /// See ``CacheStorage/restore()``. What an earlier run left behind that could be misunderstood later is put right on the way,
    /// each step durable before the next.
    public func restore() throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet) {
        let found = scan.withLock { scan in
            defer { scan = nil }
            return scan
        }
        guard let found else { return ([], BlockSet()) }
        if found.droppedCount > 0 {
            logger.warning(
                """
                some writes in the cache file are incomplete and were dropped: the system stopped before they were flushed, or the disk has \
                damaged them
                """,
                metadata: ["sectors": "\(found.droppedCount)"])
        }
        // What was read may be in the page cache only; it must be durable before what it supersedes is erased.
        try settleAtStart()
        try removeFalsehoods(found)
        if found.isLogWordy {
            try zeroLog.withLock { log throws(BlockStoreError) in try compact(&log, to: found.zeros.runs, roomFor: 0) }
        }
        // Only now does the log say what these descriptors say.
        for slot in found.zeroedSlots { try writeFree(slot, found) }
        if !found.zeroedSlots.isEmpty { try settleAtStart() }
        let zeros = found.zeros.blocks
        let blocks = found.blocks.map { block in
            RestoredBlock(
                block: block.block, slot: CacheSlot(rawValue: UInt32(block.slot)), valid: block.valid, dirty: block.dirty,
                isZeroElsewhere: zeros.contains(block.block))
        }
        return (blocks, zeros)
    }

    private func removeFalsehoods(_ found: CacheFileScan) throws(BlockStoreError) {
        var isAny = false
        for block in found.blocks where !block.losers.isEmpty {
            try eraseRecords(block.losers)
            isAny = true
        }
        for slot in found.falseSlots { try writeFree(slot, found) }
        if isAny || !found.falseSlots.isEmpty { try settleAtStart() }
    }

    /// Makes durable what has been written. Unlike later, a failure ends the start: the file is still as the last run left it.
    private func settleAtStart() throws(BlockStoreError) {
        settle()
        guard isTrusted || contents.isDistrusted else {
            throw BlockStoreError(.io, "cannot make durable what was found in the cache file: fdatasync failed; see the log")
        }
    }

    private func writeFree(_ slot: Int, _ found: CacheFileScan) throws(BlockStoreError) {
        try write(CacheFileDescriptor(.free, block: BlockNumber(0), base: found.bases[slot]), of: slot)
    }
}

extension CacheFileScan {
    /// Tells a ledger what is where.
    func fill(_ ledger: inout CacheFile.Ledger) {
        ledger.sequence = sequence
        ledger.bases = bases
        ledger.zeros = zeros
        // What was read need not be durable, and nobody knows what else is not.
        ledger.hasNews = true
        var taken: Set<Int> = []
        for block in blocks {
            let first = layout.homes(of: block.slot).lowerBound
            ledger.lastUser[block.slot] = block.lastUser
            ledger.marks[block.slot] = block.mark
            ledger.blocks[block.slot] = block.block
            for sector in 0..<layout.sectorsPerBlock {
                let bit: UInt64 = 1 << UInt64(sector % 64)
                ledger.written[first + sector] = block.valid[sector / 64] & bit != 0
                ledger.protected[first + sector] = block.dirty[sector / 64] & bit != 0
            }
            for (sector, location) in block.moved {
                ledger.moved[first + sector] = location
                taken.insert(location)
            }
        }
        ledger.freeSpares.removeAll { taken.contains($0) }
    }
}
