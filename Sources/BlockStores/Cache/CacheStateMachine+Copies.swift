// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// Who moves bytes from or to a slot at present.
extension CacheStateMachine {
    /// A caller that copies, or waits until it may.
    struct Copy: Sendable {
        /// Names it.
        let number: UInt64
        /// From or to where.
        let slot: CacheSlot
        /// Which sectors.
        let sectors: Range<Int>
        /// Whether it writes; readers overlap.
        let isExclusive: Bool
        /// Whether it runs; else it waits.
        var isGranted: Bool
    }

    /// A copy as its caller knows it.
    struct CopyTicket: Hashable, Sendable {
        /// Names the copy.
        let number: UInt64
        /// From or to where.
        let slot: CacheSlot
        /// Which sectors.
        let sectors: Range<Int>
    }

    /// A slot that belongs to no block any more, to be told to the storage.
    struct Release: Sendable {
        /// The slot.
        let slot: CacheSlot
        /// The block that had it.
        let block: BlockNumber
        /// Whether what it held, or what the storage may think that it held, was not in the store.
        let wasDirty: Bool
    }

    /// What the end of a copy makes possible.
    struct CopyEnd: Sendable {
        /// Copies that may go on.
        var granted: [UInt64] = []
        /// Copies that were taken back: those who asked start over.
        var revoked: [UInt64] = []
        /// The slot, if this was the last copy that held it back.
        var release: Release?
        /// Whether nothing is to be done.
        var isOfNoConsequence: Bool { granted.isEmpty && revoked.isEmpty && release == nil }
    }

    /// Whether some copy of the slot runs or waits.
    func isBeingCopied(_ slot: CacheSlot) -> Bool { copies.contains { $0.slot == slot } }

    /// Whether some copy to the slot runs.
    func isBeingWritten(_ slot: CacheSlot) -> Bool { copies.contains { $0.slot == slot && $0.isExclusive && $0.isGranted } }

    /// Whether the storage has committed that nothing in the slot, which is clean, is the user's only copy: what is on the disk may
    /// count as dirty until then, and as newer than an older record that the block was zeroed.
    func isSettled(_ slot: CacheSlot) -> Bool {
        !limits.isPersistent || entries[slot].state != .clean || entries[slot].cleanSince == 0
            || entries[slot].cleanSince < lastCommit
    }

    /// Asks to copy from or to a slot.
    ///
    /// - Returns: The ticket, and whether it is granted at once.
    mutating func beginCopy(_ slot: CacheSlot, _ sectors: Range<Int>, isExclusive: Bool) -> (ticket: CopyTicket, isGranted: Bool)
    {
        let isGranted = !copies.contains { Self.conflict($0, slot, sectors, isExclusive) }
        let number = makeNumber()
        copies.append(Copy(number: number, slot: slot, sectors: sectors, isExclusive: isExclusive, isGranted: isGranted))
        return (CopyTicket(number: number, slot: slot, sectors: sectors), isGranted)
    }

    /// Whether a read of these sectors would have to wait; registers nothing.
    func isReadBlocked(_ slot: CacheSlot, _ sectors: Range<Int>) -> Bool {
        copies.contains { Self.conflict($0, slot, sectors, false) }
    }

    /// Whether a write of these sectors would have to wait; registers nothing.
    func isWriteBlocked(_ slot: CacheSlot, _ sectors: Range<Int>) -> Bool {
        copies.contains { Self.conflict($0, slot, sectors, true) }
    }

    /// Ends a copy, granted or not.
    mutating func endCopy(_ ticket: CopyTicket) -> CopyEnd {
        guard let place = copies.firstIndex(where: { $0.number == ticket.number }) else {
            preconditionFailure("a copy ends once")
        }
        copies.remove(at: place)
        var end = CopyEnd()
        for index in copies.indices where copies[index].slot == ticket.slot && !copies[index].isGranted {
            let copy = copies[index]
            let isBlocked = copies[..<index].contains { Self.conflict($0, copy.slot, copy.sectors, copy.isExclusive) }
            guard !isBlocked else { continue }
            copies[index].isGranted = true
            end.granted.append(copy.number)
        }
        if entries[ticket.slot].state == .detached, !isBeingCopied(ticket.slot) { end.release = release(ticket.slot) }
        return end
    }

    /// Whether the slot of a copy still belongs to its block.
    func isAttached(_ ticket: CopyTicket) -> Bool { entries[ticket.slot].state != .detached }

    /// Takes the copies of a slot back that wait; those who asked start over.
    mutating func revokeWaitingCopies(of slot: CacheSlot) -> [UInt64] {
        let revoked = copies.filter { $0.slot == slot && !$0.isGranted }.map(\.number)
        copies.removeAll { $0.slot == slot && !$0.isGranted }
        return revoked
    }

    /// Whether `block`, which is not held, may get a slot: over a persistent storage only when all that it had before are released.
    ///
    /// After a crash both would claim the block, the older one perhaps with bytes that came later: a writer may still copy to it.
    func mayAllocate(_ block: BlockNumber) -> Bool { !limits.isPersistent || unreleased[block] == nil }

    /// The slot is about to be told to the storage; only its state is left of it.
    private mutating func release(_ slot: CacheSlot) -> Release {
        let entry = entries[slot]
        entries[slot] = Entry(block: entry.block, state: .released)
        return Release(slot: slot, block: entry.block, wasDirty: entry.wasDirty)
    }

    /// Takes the slot away from its block, which is held; the block's bytes count no more.
    ///
    /// - Returns: The release if nobody copies, and the waiting copies to be woken; they find the block gone.
    mutating func detach(_ slot: CacheSlot, wasDirty: Bool) -> (release: Release?, revoked: [UInt64]) {
        unlist(slot)
        index.remove(entries[slot].block)
        unreleased[entries[slot].block, default: 0] += 1
        valid.clear(slot)
        dirty.clear(slot)
        let revoked = revokeWaitingCopies(of: slot)
        entries[slot] = Entry(block: entries[slot].block, state: .detached)
        entries[slot].wasDirty = wasDirty
        return (isBeingCopied(slot) ? nil : release(slot), revoked)
    }

    /// The storage has recorded the release: what waited for it may go.
    mutating func released(_ release: Release) {
        precondition(entries[release.slot].state == .released, "a slot is released once")
        unreleased[release.block] = unreleased[release.block].flatMap { $0 > 1 ? $0 - 1 : nil }
        unblockZeroing()
        if release.wasDirty, limits.isPersistent {
            entries[release.slot].state = .quarantined
            quarantine.append(release.slot)
        } else {
            free(release.slot)
        }
    }

    /// The storage could not record the release: the slot stays out of use, and the storage is told again after a pause.
    ///
    /// - Returns: The flushes that fail by it, since the store is not told before that the block was zeroed.
    mutating func releaseFailed(_ release: Release, now: Duration) -> [FlushEnd] {
        failedReleases.append((release, (now + limits.failurePause).microseconds))
        guard let batch = zeroBatches.first(where: { $0.blocks.contains(release.block) }) else { return [] }
        return failFlushes(of: release.block, batch.epoch)
    }

    /// The releases of which the storage is to be told again now.
    mutating func takeFailedReleases(now: Duration) -> [Release] {
        guard !failedReleases.isEmpty else { return [] }
        let due = failedReleases.filter { $0.due <= now.microseconds }.map(\.release)
        failedReleases.removeAll { $0.due <= now.microseconds }
        return due
    }

    /// A commit of the storage is about to begin.
    ///
    /// - Returns: Its number.
    mutating func beginCommit() -> UInt64 {
        let number = makeNumber()
        commits[number] = quarantine
        quarantine = []
        return number
    }

    /// A commit has ended. What it did not make durable stays in quarantine.
    mutating func endCommit(_ number: UInt64, succeeded: Bool) {
        guard let slots = commits.removeValue(forKey: number) else { preconditionFailure("a commit ends once") }
        if succeeded {
            lastCommit = max(lastCommit, number)
            settleClean()
            for slot in slots { free(slot) }
        } else {
            quarantine += slots
        }
    }

    private static func conflict(_ copy: Copy, _ slot: CacheSlot, _ sectors: Range<Int>, _ isExclusive: Bool) -> Bool {
        copy.slot == slot && (isExclusive || copy.isExclusive) && copy.sectors.overlaps(sectors)
    }
}
