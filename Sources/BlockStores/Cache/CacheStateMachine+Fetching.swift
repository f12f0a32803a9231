// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What is asked of the store, and what becomes of its answers.
extension CacheStateMachine {
    /// A block that is asked of the store.
    struct Fetch: Sendable {
        /// Whether somebody waits for it.
        var isForeground: Bool
        /// Whether it was begun as read-ahead, whatever it has become.
        let isAhead: Bool
        /// Whether a writer waits for it, who needs a slot even when the block turns out to be zeros.
        var isForWrite = false
        /// Whether it counts among the read-aheads in flight.
        var holdsAheadLane = false
        /// Whether the request has been sent.
        var isRunning = false
        /// Whether a mutation of the block began or ended since, so that the answer may be old.
        var isDisturbed = false
    }

    /// How a request for a block came out.
    enum FetchOutcome: Sendable {
        /// The block's bytes.
        case bytes
        /// The block is zeros.
        case zero
        /// The store has the version that was named.
        case unchanged
        /// Nothing is known.
        case failed
    }

    /// What is to be done with a fetched block.
    enum FillStep: Sendable {
        /// Nothing: the fetch counts as ended, whoever waits for it starts over.
        case startOver
        /// The fetch counts as ended; its answer is the block's contents, which cannot be kept.
        case answerOnly
        /// Copy these sectors to the slot when granted, then ``endFill(_:of:succeeded:now:)``.
        case copy(CopyTicket, isGranted: Bool, isNewTenant: Bool)
    }

    // MARK: Fetches

    /// Asks for a block, or joins a fetch of it.
    ///
    /// - Returns: Whether something has become ready to be sent.
    mutating func joinFetch(of block: BlockNumber, isForeground: Bool, isForWrite: Bool = false) -> Bool {
        guard let fetch = fetches[block] else {
            fetches[block] = Fetch(isForeground: isForeground, isAhead: !isForeground, isForWrite: isForWrite)
            if isForeground { foregroundFetches.append(block) } else { aheadFetches.append(block) }
            return true
        }
        if isForWrite { fetches[block]?.isForWrite = true }
        guard isForeground, !fetch.isForeground else { return false }
        fetches[block]?.isForeground = true
        // It stands in the line of read-aheads too, where it is passed over.
        if !fetch.isRunning { foregroundFetches.append(block) }
        return !fetch.isRunning
    }

    /// How many blocks wait to be read ahead at most; without room in the cache none of them is fetched.
    static var aheadQueueMax: Int { 1024 }

    /// Asks for those of `blocks` that are neither held nor zeros, as long as the queue is not full.
    ///
    /// - Returns: Whether something has become ready to be sent.
    mutating func readAhead(_ blocks: BlockRange, isZeroBelow: (BlockNumber) -> Bool) -> Bool {
        var hasNew = false
        for block in blocks
        where aheadFetches.count < Self.aheadQueueMax && slot(of: block) == nil && fetches[block] == nil
            && !pendingZeros.contains(block) && !isZeroBelow(block)
        {
            hasNew = joinFetch(of: block, isForeground: false) || hasNew
        }
        return hasNew
    }

    /// A fetch that no job has begun is begun by whoever needs the block for its upload.
    ///
    /// - Returns: False when one runs already.
    mutating func startFetch(of block: BlockNumber) -> Bool {
        guard fetches[block]?.isRunning != true else { return false }
        if fetches[block] == nil { fetches[block] = Fetch(isForeground: false, isAhead: false) }
        fetches[block]?.isRunning = true
        let isChanging = hasMutationInFlight(block)
        fetches[block]?.isDisturbed = isChanging
        return true
    }

    /// The slot whose recorded version a fetch of `block` may name, to hear whether it still holds.
    func slotToVerify(_ block: BlockNumber) -> CacheSlot? {
        guard let slot = slot(of: block), entries[slot].isUnverified else { return nil }
        return slot
    }

    /// The answer of a fetch is here: what becomes of it.
    ///
    /// - Parameter ticket: Of an earlier call that had to wait.
    mutating func beginFill(
        of block: BlockNumber, _ outcome: FetchOutcome, ticket: CopyTicket?, now: Duration
    ) -> (step: FillStep, end: CopyEnd) {
        guard let fetch = fetches[block] else { preconditionFailure("a fetch ends once") }
        var end = CopyEnd()
        func giveUp(_ step: FillStep, _ machine: inout CacheStateMachine) -> (FillStep, CopyEnd) {
            if let ticket { end = machine.endCopy(ticket) }
            machine.endFetch(of: block, fetch)
            return (step, end)
        }
        if fetch.isDisturbed || outcome == .failed { return giveUp(.startOver, &self) }
        guard let slot = slot(of: block) else {
            if pendingZeros.contains(block) || outcome == .unchanged || ticket != nil { return giveUp(.startOver, &self) }
            let wantsSlot = outcome == .bytes || fetch.isForWrite
            guard wantsSlot, mayAllocate(block), let slot = allocate(for: block) else { return giveUp(.answerOnly, &self) }
            entries[slot].isZeroElsewhere = outcome == .zero
            if fetch.isAhead { counters.readAheads += 1 }
            let (ticket, isGranted) = beginCopy(slot, allSectors, isExclusive: true)
            return (.copy(ticket, isGranted: isGranted, isNewTenant: true), end)
        }
        if let ticket, ticket.slot != slot { return giveUp(.startOver, &self) }
        switch outcome {
        case .unchanged:
            if entries[slot].isUnverified { verified(slot) }
            return giveUp(.startOver, &self)
        case .zero where !(entries[slot].isUnverified && limits.isPersistent):
            learnZeros(slot, now: now)
            return giveUp(.startOver, &self)
        case .bytes where isKnown(slot), .failed:
            return giveUp(.startOver, &self)
        // The storage holds bytes of an older version: unless zeros are put over them, they would count as the next one's.
        case .bytes, .zero:
            if let ticket { return (.copy(ticket, isGranted: true, isNewTenant: false), end) }
            let (ticket, isGranted) = beginCopy(slot, allSectors, isExclusive: true)
            return (.copy(ticket, isGranted: isGranted, isNewTenant: false), end)
        }
    }

    /// The sectors that a fill which was granted has to copy; after it they are known.
    mutating func sectorsToFill(_ ticket: CopyTicket) -> [Range<Int>] {
        let slot = ticket.slot
        if entries[slot].isUnverified {
            counters.mismatches += 1
            // What an earlier run held is old; what it had not sent is the newest there is.
            dirty.forEachClearRun(in: allSectors, of: slot) { valid.clear($0, of: slot) }
            entries[slot].isUnverified = false
            entries[slot].isZeroElsewhere = false
        }
        guard !entries[slot].isZeroElsewhere else { return [] }
        var runs: [Range<Int>] = []
        valid.forEachClearRun(in: allSectors, of: slot) { runs.append($0) }
        return runs
    }

    /// A fill has ended.
    mutating func endFill(
        _ ticket: CopyTicket, of block: BlockNumber, sectors: [Range<Int>], succeeded: Bool, now: Duration
    ) -> CopyEnd {
        guard let fetch = fetches[block] else { preconditionFailure("a fetch ends once") }
        endFetch(of: block, fetch)
        let slot = ticket.slot
        guard isAttached(ticket) else { return endCopy(ticket) }
        if succeeded {
            for run in sectors { valid.set(run, of: slot) }
            if entries[slot].state == .filling || entries[slot].state == .clean { becomeClean(slot, now: now) }
        }
        return endCopyOfTenant(ticket)
    }

    private mutating func endFetch(of block: BlockNumber, _ fetch: Fetch) {
        fetches[block] = nil
        if fetch.holdsAheadLane { aheadInFlight -= 1 }
    }

    /// What the slot holds is the store's.
    private mutating func verified(_ slot: CacheSlot) {
        counters.verified += 1
        entries[slot].isUnverified = false
    }

    /// The store has zeros where the slot holds nothing of its own.
    private mutating func learnZeros(_ slot: CacheSlot, now: Duration) {
        if entries[slot].isUnverified {
            counters.mismatches += 1
            dirty.forEachClearRun(in: allSectors, of: slot) { valid.clear($0, of: slot) }
            entries[slot].isUnverified = false
        }
        entries[slot].isZeroElsewhere = true
    }

    /// Mutations of `block` are about to go down, or have ended: what is being fetched may be old.
    mutating func disturbFetch(of block: BlockNumber) {
        if fetches[block]?.isRunning == true { fetches[block]?.isDisturbed = true }
    }
}
