// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What is sent to the store, when, and what its answers change.
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

    /// Something to be done by a task of the cache.
    enum Job: Sendable {
        /// Ask the store for a block.
        case fetch(BlockNumber)
        /// Bring a block to the store.
        case upload(BlockNumber)
        /// Zero blocks in the store.
        case zero(UInt64, BlockSet)
        /// Commit the storage, so that there is room; ``endCommit(_:succeeded:)`` gets the number.
        case commit(UInt64)
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

    /// The next thing to do, if anything is due.
    mutating func takeJob(now: Duration) -> Job? {
        if let block = takeFetch() { return .fetch(block) }
        // What was released waits for a commit, and perhaps nothing will be sent for which there would be one.
        if commits.isEmpty, needsCommit { return .commit(beginCommit()) }
        if uploads.count + zeroFlights.count < sendersMax {
            if let job = takeZero(now: now) ?? takeUpload(now: now) { return job }
        }
        if aheadInFlight < limits.aheadMax, hasRoom, let block = takeReadAhead() { return .fetch(block) }
        return nil
    }

    /// When ``takeJob(now:)`` may have something that it has not now, if nothing else happens; nil when never.
    func nextDeadline(now: Duration) -> Duration? {
        var times: [Int64] = []
        if uploads.count + zeroFlights.count < sendersMax {
            for list in [List.dirty, .failed] {
                if let slot = lists.first(of: list) { times.append(entries[slot].time) }
            }
            times += zeroBatches.filter { !$0.isBlocked }.map(\.due)
        }
        if let keptFor = limits.keptFor {
            for list in [List.unsettled, .clean, .protected] {
                guard let slot = lists.first(of: list) else { continue }
                // One that is being copied is not given up; the end of a copy wakes nobody for that.
                let soonest = isBeingCopied(slot) ? (now + limits.failurePause).microseconds : 0
                times.append(max(soonest, entries[slot].time + keptFor.microseconds))
            }
        }
        times += flushes.compactMap { $0.deadline?.microseconds }
        times += failedReleases.map(\.due)
        return times.min().map { .microseconds($0) }
    }

    /// While nothing gets through, a few attempts are enough to see when it does.
    private var sendersMax: Int { failureStreak >= limits.uploadsMax ? max(1, limits.uploadsMax / 16) : limits.uploadsMax }

    /// Whether ``takeJob(now:)`` has a block to send, due or not, that need not wait for its time.
    var canSendNow: Bool {
        guard uploads.count + zeroFlights.count < sendersMax else { return false }
        if lists.first(of: .urgent) != nil { return true }
        return isPressed && (lists.first(of: .dirty) != nil || !zeroBatches.isEmpty)
    }

    /// Whether dirty blocks are sent before their time: there is, or will soon be, no room for others.
    /// A cache as large as the disk has room for each block.
    var isPressed: Bool {
        isRoomWanted || (limits.dirtyMax < limits.blockCount && dirtyCount >= limits.dirtyMax - limits.dirtyMax / 4)
    }

    /// Whether a commit would make room that there is not.
    private var needsCommit: Bool {
        guard limits.isPersistent, !hasRoom else { return false }
        return !quarantine.isEmpty || lists.first(of: .unsettled) != nil
    }

    private mutating func takeFetch() -> BlockNumber? {
        while let block = foregroundFetches.popFirst() {
            guard let fetch = fetches[block], !fetch.isRunning else { continue }
            run(block)
            return block
        }
        return nil
    }

    private mutating func takeReadAhead() -> BlockNumber? {
        while let block = aheadFetches.popFirst() {
            guard let fetch = fetches[block], !fetch.isRunning, !fetch.isForeground else { continue }
            run(block)
            fetches[block]?.holdsAheadLane = true
            aheadInFlight += 1
            return block
        }
        return nil
    }

    private mutating func run(_ block: BlockNumber) {
        fetches[block]?.isRunning = true
        let isChanging = hasMutationInFlight(block)
        fetches[block]?.isDisturbed = isChanging
    }

    /// Whether the store is changing `block` now.
    func hasMutationInFlight(_ block: BlockNumber) -> Bool { uploads[block]?.isSent == true || isBeingZeroed(block) }

    // MARK: Uploads

    /// How many wanted blocks are sent before a failed one that is due.
    private static var urgentInRowMax: Int { 8 }

    private mutating func takeUpload(now: Duration) -> Job? {
        guard let slot = dueSlot(now: now) else { return nil }
        let block = entries[slot].block
        urgentInRow = entries[slot].list == .urgent ? urgentInRow + 1 : 0
        unlist(slot)
        entries[slot].state = .uploading
        uploads[block] = Upload(slot: slot, beganAt: now)
        return .upload(block)
    }

    /// Wanted blocks come before failed ones, which have waited longer, and these before the others; but a load that always wants
    /// something must not keep a failed one for ever.
    private func dueSlot(now: Duration) -> CacheSlot? {
        let failed = lists.first(of: .failed).flatMap { entries[$0].time <= now.microseconds ? $0 : nil }
        if let slot = lists.first(of: .urgent), failed == nil || urgentInRow < Self.urgentInRowMax { return slot }
        if let failed { return failed }
        guard let slot = lists.first(of: .dirty) else { return nil }
        let entry = entries[slot]
        let isDue = entry.time <= now.microseconds || entry.epoch <= flushedEpoch || isDraining || isPressed
        return isDue ? slot : nil
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
