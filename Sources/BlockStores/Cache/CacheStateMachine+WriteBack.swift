// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// How a block gets to the store, and what the outcome changes.
extension CacheStateMachine {
    /// A block on its way to the store.
    struct Upload: Sendable {
        /// Where its bytes are; nil once the block was zeroed behind it.
        var slot: CacheSlot?
        /// When it began.
        let beganAt: Duration
        /// The sectors it has taken along, as words; empty before the snapshot.
        var sectors: [UInt64] = []
        /// Whether it was sent to the store, so that a read may meet the old block or the new one.
        var isSent = false
        /// Whether the snapshot was taken.
        var hasSnapshot = false
        /// The epoch of what it has taken along.
        var epoch: Epoch = 0
    }

    /// What an upload has to do next.
    enum UploadStep: Sendable {
        /// End it: the block was zeroed.
        case gone
        /// Fetch the block first: sectors are missing, or must be compared.
        case needsBytes
        /// Copy all sectors when granted, then ``beginMutation(of:)``; those in `holes` are zeros.
        case copy(CopyTicket, isGranted: Bool)
    }

    /// How a mutation came out.
    enum MutationOutcome: Sendable {
        /// The store has it.
        case done
        /// It was not sent; or it was, and something newer is on its way, so that nothing may be recorded of it.
        case abandoned
        /// The store is old or new; the failure is of a kind that only the user can mend, or not.
        case failed(isPermanent: Bool)
    }

    /// An upload asks what to do; again after each wait.
    mutating func prepareUpload(of block: BlockNumber) -> UploadStep {
        guard let upload = uploads[block] else { preconditionFailure("an upload ends once") }
        guard let slot = upload.slot else { return .gone }
        guard isKnown(slot) else { return .needsBytes }
        let (ticket, isGranted) = beginCopy(slot, allSectors, isExclusive: false)
        return .copy(ticket, isGranted: isGranted)
    }

    /// Takes the snapshot, once the copy is granted: what is written from now on is behind the upload.
    ///
    /// - Returns: The sectors that are zeros and not in the slot; nil when ``prepareUpload(of:)`` has to be asked again: the block was
    ///   zeroed, or a damaged sector forgotten.
    mutating func takeSnapshot(of block: BlockNumber, _ ticket: CopyTicket) -> [Range<Int>]? {
        guard let upload = uploads[block], upload.slot == ticket.slot, isAttached(ticket), isKnown(ticket.slot) else {
            return nil
        }
        let slot = ticket.slot
        uploads[block]?.sectors = dirty.words(of: slot)
        uploads[block]?.hasSnapshot = true
        uploads[block]?.epoch = entries[slot].epoch
        dirty.clear(slot)
        entries[slot].isUnverified = false
        var holes: [Range<Int>] = []
        valid.forEachClearRun(in: allSectors, of: slot) { holes.append($0) }
        return holes
    }

    /// The upload is about to be sent.
    ///
    /// - Returns: False when the block was zeroed since, so that sending it is no use.
    mutating func beginMutation(of block: BlockNumber) -> Bool {
        guard let upload = uploads[block] else { preconditionFailure("an upload ends once") }
        guard upload.slot != nil else { return false }
        uploads[block]?.isSent = true
        disturbFetch(of: block)
        return true
    }

    /// Keeps the slot of an upload from being given away while something is recorded about it: a copy of no sectors, to be ended.
    ///
    /// - Returns: Nil when the block was zeroed, and the slot is not its own any more.
    mutating func pinUpload(of block: BlockNumber) -> CopyTicket? {
        guard let slot = uploads[block]?.slot else { return nil }
        return beginCopy(slot, 0..<0, isExclusive: false).ticket
    }

    /// The upload of a block is over.
    ///
    /// - Returns: The slot, if the store now has the block as that upload took it, and the flushes that are done.
    mutating func endUpload(
        of block: BlockNumber, _ outcome: MutationOutcome, now: Duration
    ) -> (clean: CacheSlot?, flushes: [FlushEnd]) {
        guard let upload = uploads.removeValue(forKey: block) else { preconditionFailure("an upload ends once") }
        if upload.isSent { disturbFetch(of: block) }
        count(outcome)
        if upload.hasSnapshot, upload.slot == nil { removeOutstanding(upload.epoch) }
        defer { wakeWaiting(block) }
        guard let slot = upload.slot else { return (nil, endFlushes(of: block, outcome, upload)) }
        switch outcome {
        case .done:
            removeOutstanding(upload.epoch)
            if dirty.isAnySet(allSectors, of: slot) {
                becomeDirty(slot)
            } else {
                dirtyCount -= 1
                entries[slot].cleanSince = lastNumber
                becomeClean(slot, now: now)
            }
        case .abandoned, .failed:
            takeBack(upload, slot, now: now)
        }
        return (outcome.isDone ? slot : nil, endFlushes(of: block, outcome, upload))
    }

    /// What the upload took along is dirty again, and due after a pause.
    private mutating func takeBack(_ upload: Upload, _ slot: CacheSlot, now: Duration) {
        if upload.hasSnapshot {
            if dirty.isAnySet(allSectors, of: slot) { removeOutstanding(entries[slot].epoch) }
            dirty.assign(zip(dirty.words(of: slot), upload.sectors).map { $0 | $1 }, to: slot)
            entries[slot].epoch = upload.epoch
        }
        entries[slot].time = (now + limits.failurePause).microseconds
        entries[slot].state = .dirty
        enlist(slot, in: .failed)
    }

    private mutating func count(_ outcome: MutationOutcome) {
        switch outcome {
        case .done:
            counters.uploads += 1
            failureStreak = 0
        case .abandoned: break
        case .failed:
            counters.failedUploads += 1
            failureStreak += 1
        }
    }

    /// The mutation of `block` that was in flight is over: what waited for it may go.
    mutating func wakeWaiting(_ block: BlockNumber) {
        if let slot = slot(of: block), entries[slot].state == .waiting { becomeDirty(slot) }
        unblockZeroing()
    }
}

extension CacheStateMachine.MutationOutcome {
    /// Whether the store has it.
    var isDone: Bool {
        if case .done = self { true } else { false }
    }
}
