// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What is done next, and when there is something to do.
extension CacheStateMachine {
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
}
