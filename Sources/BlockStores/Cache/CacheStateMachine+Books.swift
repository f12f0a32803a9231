// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What the cache says of many blocks at once: which are zeros, what an earlier run left, how much there is.
extension CacheStateMachine {
    /// What is counted; each as in ``BlockCacheStatistics``.
    struct Counters: Sendable {
        var initialSize: UInt64 = 0
        var readHits: UInt64 = 0
        var readMisses: UInt64 = 0
        var writeHits: UInt64 = 0
        var writeMisses: UInt64 = 0
        var verified: UInt64 = 0
        var mismatches: UInt64 = 0
        var readAheads: UInt64 = 0
        var uploads: UInt64 = 0
        var failedUploads: UInt64 = 0
        var writerWaits: UInt64 = 0
    }

    // MARK: Extents

    /// The store below is about to be asked for extents; changes are noted until the answer has been laid over.
    mutating func beginExtents() -> UInt64 {
        let number = makeNumber()
        extentQueries[number] = []
        return number
    }

    /// Lays what is here over the answer from below: pending zeros are zeros, held blocks are data.
    mutating func endExtents(_ number: UInt64, below: [BlockExtent]) -> [BlockExtent] {
        guard let changed = extentQueries.removeValue(forKey: number) else { preconditionFailure("a query ends once") }
        var extents: [BlockExtent] = []
        for extent in below {
            pendingZeros.forEachRun(in: extent.blocks) { run, isPending in
                guard extent.kind == .zero, !isPending else { return extents.append(run, isPending ? .zero : .data) }
                var position = run.lowerBound
                for block in dataBlocks(in: run, changed) {
                    if position < block { extents.append(position..<block, .zero) }
                    position = block.advanced(by: 1)
                    extents.append(block..<position, .data)
                }
                if position < run.upperBound { extents.append(position..<run.upperBound, .zero) }
            }
        }
        return extents
    }

    /// The blocks of a run that may hold bytes, ascending.
    private func dataBlocks(in run: BlockRange, _ changed: Set<BlockNumber>) -> [BlockNumber] {
        let isData = { (block: BlockNumber) in
            changed.contains(block) || self.slot(of: block).map { self.valid.isAnySet(self.allSectors, of: $0) } == true
        }
        if run.count <= heldCount + changed.count { return run.filter(isData) }
        var blocks = changed.filter(run.contains)
        for slot in entries.slots where run.contains(entries[slot].block) { blocks.insert(entries[slot].block) }
        return blocks.filter(isData).sorted()
    }

    // MARK: An earlier run

    /// Takes in what an earlier run left; to be called once, before anything else.
    ///
    /// - Parameters:
    ///   - zeros: Blocks whose zeroing the store may not have seen; those that are restored as well were written afterwards.
    ///   - isVerified: Whether clean blocks are believed without asking the store.
    mutating func restore(_ blocks: [RestoredBlock], zeros: BlockSet, isVerified: Bool, now: Duration) {
        var zeros = zeros
        let slotsUsed = Set(blocks.map(\.slot))
        precondition(slotsUsed.count == blocks.count, "a slot has one block")
        for number in 0...(blocks.map(\.slot.rawValue).max() ?? 0) where !blocks.isEmpty {
            let slot = entries.append(Entry())
            if !slotsUsed.contains(CacheSlot(rawValue: number)) { freeSlots.append(slot) }
        }
        for restored in blocks {
            restore(restored, isVerified: isVerified, now: now)
            zeros.remove(contentsOf: restored.block..<restored.block.advanced(by: 1))
        }
        addBatch(zeros, epoch: epoch, now: now)
    }

    private mutating func restore(_ restored: RestoredBlock, isVerified: Bool, now: Duration) {
        let slot = restored.slot
        entries[slot] = Entry(block: restored.block, state: .filling)
        index.insert(slot, for: restored.block)
        valid.assign(restored.valid, to: slot)
        dirty.assign(restored.dirty, to: slot)
        entries[slot].isZeroElsewhere = restored.isZeroElsewhere
        entries[slot].isUnverified = !isVerified && restored.valid != restored.dirty
        counters.initialSize += 1
        guard !dirty.isEmpty(slot) else { return becomeClean(slot, now: now) }
        dirtyCount += 1
        entries[slot].epoch = epoch
        entries[slot].time = now.microseconds
        addOutstanding(epoch)
        becomeDirty(slot)
    }

    /// The store was found to have `block` in the version that was recorded for it.
    mutating func confirm(_ block: BlockNumber) {
        guard let slot = slot(of: block), entries[slot].isUnverified else { return }
        counters.verified += 1
        entries[slot].isUnverified = false
    }

    // MARK: Figures

    /// What is held now, and the counters.
    var statistics: BlockCacheStatistics {
        var statistics = BlockCacheStatistics()
        statistics.currentSize = UInt64(heldCount)
        statistics.slotCount = UInt64(limits.slotCount)
        statistics.dirtyCount = UInt64(dirtyCount)
        statistics.pendingZeroCount = UInt64(pendingZeros.count)
        statistics.initialSize = counters.initialSize
        statistics.readHits = counters.readHits
        statistics.readMisses = counters.readMisses
        statistics.writeHits = counters.writeHits
        statistics.writeMisses = counters.writeMisses
        statistics.verified = counters.verified
        statistics.mismatches = counters.mismatches
        statistics.readAheads = counters.readAheads
        statistics.uploads = counters.uploads
        statistics.failedUploads = counters.failedUploads
        statistics.writerWaits = counters.writerWaits
        return statistics
    }

    /// Sets the counters to 0, but for what was there at the start.
    mutating func resetCounters() {
        let initialSize = counters.initialSize
        counters = Counters()
        counters.initialSize = initialSize
    }
}
