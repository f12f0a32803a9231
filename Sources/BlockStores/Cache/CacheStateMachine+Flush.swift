// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// Who waits until what the store does not have has reached it.
extension CacheStateMachine {
    /// How many things of an epoch the store does not have: held blocks, uploads that took a snapshot, batches and flights of zeros.
    struct OutstandingEpoch: Sendable {
        let epoch: Epoch
        var count: Int
    }

    /// A flush that waits.
    struct FlushTicket: Sendable {
        let number: UInt64
        /// It waits for this epoch and the ones before.
        let epoch: Epoch
        /// The blocks that it waits for yet; nil for all.
        var blocks: BlockSet?
        let deadline: Duration?
    }

    /// How a flush that waited has come out.
    struct FlushEnd: Hashable, Sendable {
        let number: UInt64
        /// Whether it fails, by what has just happened to one of the blocks that it waits for; else it is done.
        let isFailed: Bool
    }

    /// A flush begins: everything in `scope` that was acknowledged before is due.
    ///
    /// - Parameter deadline: When the caller gives up; see ``expireFlushes(now:)``.
    /// - Returns: The number to wait for; nil when the store has everything already.
    mutating func beginFlush(_ scope: FlushScope, deadline: Duration?) -> UInt64? {
        guard let last = outstanding.last else { return nil }
        if last.epoch == epoch { epoch += 1 }
        let ended = epoch - 1
        var waited: BlockSet?
        switch scope {
        case .everything:
            flushedEpoch = max(flushedEpoch, ended)
        case .blocks(let blocks):
            let needed = outstandingBlocks(in: blocks, upTo: ended)
            guard !needed.isEmpty else { return nil }
            waited = needed
        }
        let number = makeNumber()
        flushes.append(FlushTicket(number: number, epoch: ended, blocks: waited, deadline: deadline))
        if let waited { hurry(waited) }
        return number
    }

    /// A caller does not wait any more.
    mutating func cancelFlush(_ number: UInt64) { flushes.removeAll { $0.number == number } }

    /// Ends the flushes whose time is up.
    mutating func expireFlushes(now: Duration) -> [UInt64] {
        let late = flushes.filter { $0.deadline.map { $0 <= now } ?? false }.map(\.number)
        if !late.isEmpty { flushes.removeAll { late.contains($0.number) } }
        return late
    }

    /// From now on everything dirty is due.
    mutating func beginDraining() {
        isDraining = true
        flushedEpoch = max(flushedEpoch, epoch)
    }

    /// Whether a flush of blocks waits for this.
    func isWanted(_ block: BlockNumber, _ epoch: Epoch) -> Bool {
        flushes.contains { $0.epoch >= epoch && $0.blocks?.contains(block) == true }
    }

    // MARK: Books

    /// Something more of `epoch` is not in the store.
    mutating func addOutstanding(_ epoch: Epoch) {
        if let index = outstanding.firstIndex(where: { $0.epoch >= epoch }) {
            if outstanding[index].epoch == epoch {
                outstanding[index].count += 1
            } else {
                outstanding.insert(OutstandingEpoch(epoch: epoch, count: 1), at: index)
            }
        } else {
            outstanding.append(OutstandingEpoch(epoch: epoch, count: 1))
        }
    }

    /// Something less of `epoch` is not in the store.
    mutating func removeOutstanding(_ epoch: Epoch) {
        guard let index = outstanding.firstIndex(where: { $0.epoch == epoch }) else {
            preconditionFailure("what is removed was added")
        }
        outstanding[index].count -= 1
        if outstanding[index].count == 0 { outstanding.remove(at: index) }
    }

    /// Whether the store lacks something of `block` of `epoch` or before.
    func isOutstanding(_ block: BlockNumber, upTo epoch: Epoch) -> Bool {
        if let slot = slot(of: block), dirty.isAnySet(allSectors, of: slot), entries[slot].epoch <= epoch { return true }
        if let upload = uploads[block], upload.hasSnapshot, upload.epoch <= epoch { return true }
        return zeroBatches.contains { $0.epoch <= epoch && $0.blocks.contains(block) }
            || zeroFlights.contains { $0.epoch <= epoch && $0.blocks.contains(block) }
    }

    private func outstandingBlocks(in blocks: BlockSet, upTo epoch: Epoch) -> BlockSet {
        var needed = BlockSet()
        for batch in zeroBatches where batch.epoch <= epoch { needed.formUnion(batch.blocks.intersection(blocks)) }
        for flight in zeroFlights where flight.epoch <= epoch { needed.formUnion(flight.blocks.intersection(blocks)) }
        var candidates = Set(uploads.keys.filter(blocks.contains))
        if blocks.blockCount < entries.count {
            candidates.formUnion(blocks.blocks)
        } else {
            for slot in entries.slots where blocks.contains(entries[slot].block) { candidates.insert(entries[slot].block) }
        }
        for block in candidates where isOutstanding(block, upTo: epoch) {
            needed.insert(contentsOf: block..<block.advanced(by: 1))
        }
        return needed
    }

    /// Sends `blocks` before others.
    private mutating func hurry(_ blocks: BlockSet) {
        for block in blocks.blocks {
            if let slot = slot(of: block), entries[slot].list == .dirty { enlist(slot, in: .urgent) }
        }
        for index in zeroBatches.indices where !zeroBatches[index].blocks.isDisjoint(blocks) {
            zeroBatches[index].isUrgent = true
        }
    }

    // MARK: Ends

    /// The flushes that end since an upload of `block` has.
    mutating func endFlushes(of block: BlockNumber, _ outcome: MutationOutcome, _ upload: Upload) -> [FlushEnd] {
        let epoch = upload.hasSnapshot ? upload.epoch : upload.slot.map { entries[$0].epoch } ?? self.epoch
        return endFlushes(BlockSet(block..<block.advanced(by: 1)), outcome, epoch)
    }

    /// The flushes that end since a zeroing has.
    mutating func endFlushes(of flight: ZeroFlight, _ outcome: MutationOutcome) -> [FlushEnd] {
        endFlushes(flight.blocks, outcome, flight.epoch)
    }

    /// The flushes that fail since `block`, which is to be zeroed, cannot be.
    mutating func failFlushes(of block: BlockNumber, _ epoch: Epoch) -> [FlushEnd] {
        endFlushes(BlockSet(block..<block.advanced(by: 1)), .failed(isPermanent: true), epoch)
    }

    private mutating func endFlushes(_ blocks: BlockSet, _ outcome: MutationOutcome, _ epoch: Epoch) -> [FlushEnd] {
        guard !flushes.isEmpty else { return [] }
        var ends: [FlushEnd] = []
        let oldest = outstanding.first?.epoch ?? .max
        for index in flushes.indices {
            let flush = flushes[index]
            if case .failed(isPermanent: true) = outcome, flush.epoch >= epoch, flush.blocks?.isDisjoint(blocks) != true {
                ends.append(FlushEnd(number: flush.number, isFailed: true))
                continue
            }
            guard let waited = flush.blocks else {
                if oldest > flush.epoch { ends.append(FlushEnd(number: flush.number, isFailed: false)) }
                continue
            }
            let done = waited.intersection(blocks)
            for range in done.ranges {
                for block in range where !isOutstanding(block, upTo: flush.epoch) {
                    flushes[index].blocks?.remove(contentsOf: block..<block.advanced(by: 1))
                }
            }
            if flushes[index].blocks?.isEmpty == true { ends.append(FlushEnd(number: flush.number, isFailed: false)) }
        }
        let ended = Set(ends.map(\.number))
        if !ended.isEmpty { flushes.removeAll { ended.contains($0.number) } }
        return ends
    }
}
