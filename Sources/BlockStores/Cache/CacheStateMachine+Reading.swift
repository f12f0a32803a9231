// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// Reads, and what is done about sectors that cannot be read.
extension CacheStateMachine {
    /// What a read has to do.
    enum ReadStep: Sendable {
        /// The bytes are zeros.
        case zero
        /// Copy from the slot, then end the copy. The sectors in `holes` are zeros and not in the slot.
        case copy(CopyTicket, isGranted: Bool, holes: [Range<Int>])
        /// Ask for the block: ``joinFetch(of:_:)``.
        case miss
    }

    /// A read of some sectors begins.
    ///
    /// - Parameters:
    ///   - waits: Whether the caller can wait for a grant; else a copy that would have to wait counts as a miss that is not counted.
    ///   - counts: Whether it counts as a hit or a miss: the first time only, not when the caller starts over.
    ///   - isZeroBelow: Whether the store below is known to have zeros there; asked only if need be.
    mutating func beginRead(
        of block: BlockNumber, _ sectors: Range<Int>, waits: Bool, counts: Bool = true, now: Duration, isZeroBelow: () -> Bool
    ) -> ReadStep {
        guard let slot = slot(of: block) else {
            if pendingZeros.contains(block) || isZeroBelow() { return .zero }
            if waits, counts { counters.readMisses += 1 }
            return .miss
        }
        let entry = entries[slot]
        let known = entry.isUnverified ? dirty : valid
        guard known.isAllSet(sectors, of: slot) || (entry.isZeroElsewhere && !entry.isUnverified) else {
            if waits, counts { counters.readMisses += 1 }
            return .miss
        }
        if !waits, isReadBlocked(slot, sectors) { return .miss }
        if counts { counters.readHits += 1 }
        touch(slot, now: now)
        var holes: [Range<Int>] = []
        if !known.isAllSet(sectors, of: slot) {
            if !known.isAnySet(sectors, of: slot), !isReadBlocked(slot, sectors) { return .zero }
            known.forEachClearRun(in: sectors, of: slot) { holes.append($0) }
        }
        let (ticket, isGranted) = beginCopy(slot, sectors, isExclusive: false)
        return .copy(ticket, isGranted: isGranted, holes: holes)
    }

    /// Whether a read may still be copied after it had to wait: the same question as at its begin, for a ticket that is granted.
    ///
    /// - Returns: The sectors that are zeros; nil when the read has to start over.
    func holes(of ticket: CopyTicket) -> [Range<Int>]? {
        let entry = entries[ticket.slot]
        guard entry.state != .detached else { return nil }
        let known = entry.isUnverified ? dirty : valid
        if known.isAllSet(ticket.sectors, of: ticket.slot) { return [] }
        guard entry.isZeroElsewhere, !entry.isUnverified else { return nil }
        var holes: [Range<Int>] = []
        known.forEachClearRun(in: ticket.sectors, of: ticket.slot) { holes.append($0) }
        return holes
    }

    /// Ends a copy; a slot in which nothing has arrived is given up, and whoever waits for it starts over.
    mutating func endCopyOfTenant(_ ticket: CopyTicket) -> CopyEnd {
        let slot = ticket.slot
        let isAlone = !copies.contains { $0.slot == slot && $0.isGranted && $0.number != ticket.number }
        guard entries[slot].state == .filling, isAlone else { return endCopy(ticket) }
        copies.removeAll { $0.number == ticket.number }
        let (release, revoked) = detach(slot, wasDirty: false)
        return CopyEnd(granted: [], revoked: revoked, release: release)
    }

    /// Whether nothing is lost when `sectors` of `block`, which cannot be read from the storage, are forgotten: the store has them too.
    func canForget(_ block: BlockNumber, _ sectors: [Int]) -> Bool {
        guard let slot = slot(of: block) else { return true }
        var takenAlong: [UInt64] = []
        if let upload = uploads[block], upload.slot == slot { takenAlong = upload.sectors }
        return sectors.allSatisfy { sector in
            guard !dirty.isAllSet(sector..<sector + 1, of: slot) else { return false }
            return takenAlong.isEmpty || takenAlong[sector / 64] >> UInt64(sector % 64) & 1 == 0
        }
    }

    /// Sectors of `block` cannot be read from the storage: if the store has them as well they are forgotten, to be fetched again.
    ///
    /// - Returns: Whether asking again leads elsewhere, and the slot if it was given up.
    mutating func forget(_ block: BlockNumber, _ sectors: [Int]) -> (isForgotten: Bool, release: Release?) {
        guard canForget(block, sectors) else { return (false, nil) }
        guard let slot = slot(of: block) else { return (true, nil) }
        if entries[slot].state == .clean, !isBeingCopied(slot) { return (true, giveUp(slot)) }
        for sector in sectors where valid.isAllSet(sector..<sector + 1, of: slot) {
            valid.clear(sector..<sector + 1, of: slot)
            // It was held and is not dirty: so all of the block has reached the store since it was zeroed.
            entries[slot].isZeroElsewhere = false
        }
        return (true, nil)
    }

    /// Whether every sector of the slot is known, and believed.
    func isKnown(_ slot: CacheSlot) -> Bool {
        let entry = entries[slot]
        if entry.isUnverified { return dirty.isAllSet(allSectors, of: slot) }
        return entry.isZeroElsewhere || valid.isAllSet(allSectors, of: slot)
    }
}
