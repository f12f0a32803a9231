// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// Writes to parts of blocks.
extension CacheStateMachine {
    /// What a write has to do.
    enum WriteStep: Sendable {
        /// Nothing: zeros over zeros.
        case nothing
        /// Copy to the slot when granted, then ``endWrite(_:to:succeeded:now:)``.
        case copy(CopyTicket, isGranted: Bool, isNewTenant: Bool)
        /// The write covers parts of sectors whose bytes are not here: they have to be fetched first.
        case needsBytes
        /// Wait for room, then start over.
        case full
        /// Wait until the storage has recorded that the block gave up an older slot, then start over.
        case unreleased
    }

    /// A write begins.
    ///
    /// - Parameters:
    ///   - sectors: Those that it touches.
    ///   - edges: The sectors of which it covers only a part: the first, the last, or none.
    ///   - isZeros: Whether it writes zeros.
    ///   - waits: Whether the caller can wait for a grant, or for room; else what would have to wait is not registered.
    ///   - counts: Whether it counts as a hit or a miss: the first time only, not when the caller starts over.
    ///   - isZeroBelow: As in ``beginRead(of:_:waits:counts:now:isZeroBelow:)``.
    mutating func beginWrite(
        to block: BlockNumber, _ sectors: Range<Int>, edges: [Int], isZeros: Bool, waits: Bool, counts: Bool = true,
        isZeroBelow: () -> Bool
    ) -> WriteStep {
        guard let slot = slot(of: block) else {
            // Zeros over zeros included: a crash could bring back what is in the older slot.
            guard mayAllocate(block) else { return .unreleased }
            let isZero = pendingZeros.contains(block) || isZeroBelow()
            if isZero, isZeros { return .nothing }
            guard edges.isEmpty || isZero else { return needBytes(counts: counts) }
            guard dirtyCount < limits.dirtyMax, let slot = allocate(for: block) else {
                if waits { counters.writerWaits += 1 }
                return .full
            }
            if counts { counters.writeMisses += 1 }
            entries[slot].isZeroElsewhere = isZero
            // The whole block, so that a second write finds the slot assigned.
            let (ticket, isGranted) = beginCopy(slot, allSectors, isExclusive: true)
            return .copy(ticket, isGranted: isGranted, isNewTenant: true)
        }
        guard hasEdges(slot, edges) else { return needBytes(counts: counts) }
        guard isDirty(slot) || dirtyCount < limits.dirtyMax else {
            if waits { counters.writerWaits += 1 }
            return .full
        }
        if !waits, isWriteBlocked(slot, sectors) { return .full }
        if counts { counters.writeHits += 1 }
        let (ticket, isGranted) = beginCopy(slot, sectors, isExclusive: true)
        return .copy(ticket, isGranted: isGranted, isNewTenant: false)
    }

    private mutating func needBytes(counts: Bool) -> WriteStep {
        if counts { counters.writeMisses += 1 }
        return .needsBytes
    }

    /// Which of the edges have bytes in the slot, for a write that was granted; the others are zeros.
    ///
    /// - Returns: Nil when the write has to start over: the block was zeroed, or an edge is not known any more.
    func heldEdges(_ ticket: CopyTicket, _ edges: [Int]) -> [Int]? {
        guard isAttached(ticket), hasEdges(ticket.slot, edges) else { return nil }
        return edges.filter { valid.isAllSet($0..<$0 + 1, of: ticket.slot) }
    }

    /// A write has been copied, or could not be.
    ///
    /// - Parameter sectors: Those written; the ticket may cover more.
    mutating func endWrite(
        _ ticket: CopyTicket, to block: BlockNumber, _ sectors: Range<Int>, succeeded: Bool, now: Duration
    ) -> CopyEnd {
        // A block that was zeroed meanwhile is as if it had been written before that.
        guard isAttached(ticket) else { return endCopy(ticket) }
        if succeeded { markDirty(ticket.slot, block, sectors, now: now) }
        return endCopyOfTenant(ticket)
    }

    /// Whether the slot holds something that the store does not have, as far as is known.
    func isDirty(_ slot: CacheSlot) -> Bool {
        switch entries[slot].state {
        case .dirty, .waiting, .uploading: true
        default: false
        }
    }

    private func hasEdges(_ slot: CacheSlot, _ edges: [Int]) -> Bool {
        let entry = entries[slot]
        if entry.isUnverified { return edges.allSatisfy { dirty.isAllSet($0..<$0 + 1, of: slot) } }
        return entry.isZeroElsewhere || edges.allSatisfy { valid.isAllSet($0..<$0 + 1, of: slot) }
    }

    private mutating func markDirty(_ slot: CacheSlot, _ block: BlockNumber, _ sectors: Range<Int>, now: Duration) {
        for query in extentQueries.keys { extentQueries[query]?.insert(block) }
        let hadDirtySectors = dirty.isAnySet(allSectors, of: slot)
        valid.set(sectors, of: slot)
        dirty.set(sectors, of: slot)
        let inherited = supersedeZeroing(of: block)
        if !isDirty(slot) {
            dirtyCount += 1
            begin(slot, epoch: min(inherited ?? epoch, epoch), now: now)
            becomeDirty(slot)
        } else if !hadDirtySectors, entries[slot].state == .uploading {
            // Behind the upload that has taken its snapshot.
            begin(slot, epoch: min(inherited ?? epoch, epoch), now: now)
        }
    }

    /// New dirtiness of a slot begins.
    private mutating func begin(_ slot: CacheSlot, epoch: Epoch, now: Duration) {
        entries[slot].epoch = epoch
        entries[slot].time = (now + limits.writeDelay).microseconds
        addOutstanding(epoch)
    }
}
