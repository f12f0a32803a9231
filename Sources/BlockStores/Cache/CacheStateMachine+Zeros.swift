// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// Blocks that are zeros, and of which the store does not know it yet.
extension CacheStateMachine {
    /// Blocks to be zeroed together. A block stands in one batch at most.
    struct ZeroBatch: Sendable {
        let epoch: Epoch
        /// When it is sent, in microseconds.
        var due: Int64
        var blocks: BlockSet
        /// Whether a flush wants it.
        var isUrgent = false
        /// Whether it can only wait until some mutation in flight ends, or a slot is released.
        var isBlocked = false
        /// Whether it has failed, and so is not sent before it is due.
        var isRetry = false
    }

    /// A zeroing that was sent.
    struct ZeroFlight: Sendable {
        let number: UInt64
        let epoch: Epoch
        /// All that was sent.
        let blocks: BlockSet
        /// Those that were not written since.
        var wanted: BlockSet
    }

    /// What zeroing leads to.
    struct ZeroStart: Sendable {
        var releases: [Release] = []
        /// Waiting copies that are to start over.
        var revoked: [UInt64] = []
    }

    /// How many runs of blocks a batch takes before the next one is begun.
    private static var runsMax: Int { 4096 }

    /// Whether zeroing the single `block` needs nothing at all.
    func isZeroAlready(_ block: BlockNumber, isZeroBelow: () -> Bool) -> Bool {
        guard slot(of: block) == nil, uploads[block] == nil, !isBeingZeroed(block) else { return false }
        return pendingZeros.contains(block) || isZeroBelow()
    }

    /// Blocks are zeros from now on. Slots are given up, whatever their state; the store hears of it by a job.
    mutating func beginZero(_ blocks: BlockSet, now: Duration) -> ZeroStart {
        var start = ZeroStart()
        var epoch = epoch
        for query in extentQueries.keys { removeFromQuery(query, blocks) }
        for slot in heldSlots(in: blocks) {
            if let older = drop(slot, &start) { epoch = min(epoch, older) }
        }
        for (block, upload) in uploads where blocks.contains(block) && upload.hasSnapshot { epoch = min(epoch, upload.epoch) }
        for block in fetches.keys.filter(blocks.contains) { disturbFetch(of: block) }
        // A flight tells the storage to forget what was recorded before it was sent. What has been recorded since needs one more.
        for index in zeroFlights.indices where limits.isPersistent {
            let again = zeroFlights[index].wanted.intersection(blocks)
            guard !again.isEmpty else { continue }
            zeroFlights[index].wanted = zeroFlights[index].wanted.subtracting(again)
            pendingZeros.remove(again)
            epoch = min(epoch, zeroFlights[index].epoch)
        }
        var fresh = BlockSet()
        for range in blocks.ranges {
            pendingZeros.forEachRun(in: range) { run, isPending in
                if !isPending { fresh.insert(contentsOf: run) }
            }
        }
        addBatch(fresh, epoch: epoch, now: now)
        return start
    }

    /// Gives up a slot whose block is zeroed.
    ///
    /// - Returns: The epoch of what it held that the store does not have.
    private mutating func drop(_ slot: CacheSlot, _ start: inout ZeroStart) -> Epoch? {
        let block = entries[slot].block
        let wasDirty = isDirty(slot)
        var older: Epoch?
        if wasDirty {
            dirtyCount -= 1
            if dirty.isAnySet(allSectors, of: slot) {
                older = entries[slot].epoch
                removeOutstanding(entries[slot].epoch)
            }
            if uploads[block]?.slot == slot { uploads[block]?.slot = nil }
        }
        let (release, revoked) = detach(slot, wasDirty: wasDirty || isBeingWritten(slot) || !isSettled(slot))
        if let release { start.releases.append(release) }
        start.revoked += revoked
        return older
    }

    private func heldSlots(in blocks: BlockSet) -> [CacheSlot] {
        if blocks.blockCount < entries.count { return blocks.blocks.compactMap(slot(of:)) }
        return entries.slots.filter { blocks.contains(entries[$0].block) && slot(of: entries[$0].block) == $0 }
    }

    /// `blocks`, none of which is pending, wait to be zeroed.
    mutating func addBatch(_ blocks: BlockSet, epoch: Epoch, now: Duration) {
        guard !blocks.isEmpty else { return }
        pendingZeros.insert(blocks)
        let isUrgent = flushes.contains { $0.blocks?.isDisjoint(blocks) == false }
        let isOpen = { (batch: ZeroBatch) in
            batch.epoch == epoch && batch.isUrgent == isUrgent && !batch.isRetry && batch.blocks.ranges.count < Self.runsMax
        }
        if let index = zeroBatches.lastIndex(where: isOpen) {
            zeroBatches[index].blocks.formUnion(blocks)
            zeroBatches[index].isBlocked = false
        } else {
            let due = (now + limits.writeDelay).microseconds
            zeroBatches.append(ZeroBatch(epoch: epoch, due: due, blocks: blocks, isUrgent: isUrgent))
            addOutstanding(epoch)
        }
    }

    /// `block`, which may be waiting to be zeroed, was written.
    ///
    /// - Returns: The epoch of the zeroing that is not needed any more, nil if there was none.
    mutating func supersedeZeroing(of block: BlockNumber) -> Epoch? {
        guard pendingZeros.contains(block) else { return nil }
        pendingZeros.remove(block)
        let one = block..<block.advanced(by: 1)
        if let index = zeroFlights.firstIndex(where: { $0.wanted.contains(block) }) {
            zeroFlights[index].wanted.remove(contentsOf: one)
            return zeroFlights[index].epoch
        }
        guard let index = zeroBatches.firstIndex(where: { $0.blocks.contains(block) }) else {
            preconditionFailure("a pending block stands in a batch or in a flight")
        }
        let epoch = zeroBatches[index].epoch
        zeroBatches[index].blocks.remove(contentsOf: one)
        if zeroBatches[index].blocks.isEmpty {
            zeroBatches.remove(at: index)
            // The write that takes over adds its own.
            removeOutstanding(epoch)
        }
        return epoch
    }

    /// Whether a zeroing of `block` is in flight.
    func isBeingZeroed(_ block: BlockNumber) -> Bool { zeroFlights.contains { $0.blocks.contains(block) } }

    /// The next batch that is due, without the blocks that have a mutation in flight, and without those of which the storage has
    /// not recorded yet that a slot was given up: until then it must not forget that they were zeroed.
    mutating func takeZero(now: Duration) -> Job? {
        for index in zeroBatches.indices where isDue(zeroBatches[index], now: now) && !zeroBatches[index].isBlocked {
            let batch = zeroBatches[index]
            var busy = BlockSet(blocks: uploads.keys.filter(batch.blocks.contains))
            for flight in zeroFlights { busy.formUnion(flight.blocks.intersection(batch.blocks)) }
            if limits.isPersistent { busy.formUnion(BlockSet(blocks: unreleased.keys.filter(batch.blocks.contains))) }
            let sent = batch.blocks.subtracting(busy)
            guard !sent.isEmpty else {
                zeroBatches[index].isBlocked = true
                continue
            }
            if busy.isEmpty {
                zeroBatches.remove(at: index)
            } else {
                zeroBatches[index].blocks = busy
                zeroBatches[index].isBlocked = true
                addOutstanding(batch.epoch)
            }
            // Its answer may be from before, and no pending zero will tell so once this flight is over.
            for block in fetches.keys.filter(sent.contains) { disturbFetch(of: block) }
            let number = makeNumber()
            zeroFlights.append(ZeroFlight(number: number, epoch: batch.epoch, blocks: sent, wanted: sent))
            return .zero(number, sent)
        }
        return nil
    }

    private func isDue(_ batch: ZeroBatch, now: Duration) -> Bool {
        guard batch.due > now.microseconds else { return true }
        return !batch.isRetry && (batch.epoch <= flushedEpoch || batch.isUrgent || isDraining || isPressed)
    }

    /// A zeroing is over.
    ///
    /// - Returns: The blocks of which the storage may forget that they were zeroed, and the flushes that are done.
    mutating func endZero(
        _ number: UInt64, _ outcome: MutationOutcome, now: Duration
    ) -> (forget: BlockSet, flushes: [FlushEnd]) {
        guard let index = zeroFlights.firstIndex(where: { $0.number == number }) else {
            preconditionFailure("a zeroing ends once")
        }
        let flight = zeroFlights.remove(at: index)
        switch outcome {
        case .done:
            failureStreak = 0
            pendingZeros.remove(flight.wanted)
        case .abandoned, .failed:
            if case .failed = outcome {
                counters.failedUploads += 1
                failureStreak += 1
            }
            if !flight.wanted.isEmpty {
                let due = (now + limits.failurePause).microseconds
                zeroBatches.append(ZeroBatch(epoch: flight.epoch, due: due, blocks: flight.wanted, isRetry: true))
                addOutstanding(flight.epoch)
            }
        }
        removeOutstanding(flight.epoch)
        for block in flight.blocks.blocks(heldBy: self) { wakeWaiting(block) }
        unblockZeroing()
        return (outcome.isDone ? flight.wanted : BlockSet(), endFlushes(of: flight, outcome))
    }

    /// Some mutation has ended, or a slot was released: batches that waited for it may go.
    mutating func unblockZeroing() {
        for index in zeroBatches.indices { zeroBatches[index].isBlocked = false }
    }

    private mutating func removeFromQuery(_ query: UInt64, _ blocks: BlockSet) {
        guard let changed = extentQueries[query] else { return }
        extentQueries[query] = changed.filter { !blocks.contains($0) }
    }
}

extension BlockSet {
    /// Those of the blocks that have a slot in `machine`.
    fileprivate func blocks(heldBy machine: CacheStateMachine) -> [BlockNumber] {
        if blockCount < machine.entries.count { return blocks.filter { machine.slot(of: $0) != nil } }
        return machine.entries.slots.compactMap { slot in
            let block = machine.entries[slot].block
            return contains(block) && machine.slot(of: block) == slot ? block : nil
        }
    }
}
