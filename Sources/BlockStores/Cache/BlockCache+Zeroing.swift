// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// Zeroing.
extension BlockCache {
    /// Zeroes blocks: they are zeros from now on, and the store hears of it later. See ``BlockStore/zero(_:_:)``.
    ///
    /// - Throws: What the storage throws, `.cancelled`; then each of the blocks is old or zero. `.fenced` once the store has said that
    ///   the volume is somebody else's; `.io` once ``drain()`` has begun.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        guard !blocks.isEmpty else { return }
        try failIfLost()
        let isZeroAlready = blocks.single.map { only in
            state.withLock { $0.machine.isZeroAlready(only) { isZeroBelow(only, for: .write) } }
        }
        if isZeroAlready != true { try beginZero(blocks) }
        try await waitForReleases(in: blocks)
        if settings.isSynchronous { try await flushToStore(.blocks(blocks)) }
    }

    /// Gives up what is held of `blocks`, which are zeros from now on.
    private func beginZero(_ blocks: BlockSet) throws(BlockStoreError) {
        let intent = try state.withLock { state throws(BlockStoreError) in
            if let refusal = state.refusal { throw refusal }
            let number = state.machine.makeNumber()
            state.zeroIntents[number] = ZeroIntent(blocks: blocks, mark: storage.mark)
            return number
        }
        // In this order: what is written after the record and before the slots are given up is not lost by it, only older.
        if storage.isPersistent {
            do throws(BlockStoreError) {
                try storage.recordZeros(blocks)
            } catch {
                state.withLock { $0.zeroIntents[intent] = nil }
                throw error
            }
        }
        let wakeups = state.withLock { state in
            state.zeroIntents[intent] = nil
            let start = state.machine.beginZero(blocks, now: timeline.now)
            var wakeups = Wakeups()
            wakeups.copiers = start.revoked.compactMap { state.copiers.answer($0, false) }
            // What was dirty is not any more.
            wakeups.writers = admitWriters(&state)
            wakeups.releases = start.releases
            return wakeups
        }
        finish(wakeups)
        doorbell.ring()
    }

    /// Waits until the storage has recorded that the slots which `blocks` had are given up: until then what is in them would count after a
    /// crash as newer than the zeroing, if it was copied later. The copies that hold them back end by themselves.
    private func waitForReleases(in blocks: BlockSet) async throws(BlockStoreError) {
        guard storage.isPersistent else { return }
        for block in state.withLock({ $0.machine.unreleased.keys.filter(blocks.contains) }) {
            let number = state.withLock { state in
                state.machine.mayAllocate(block) ? nil : expectRelease(of: block, &state)
            }
            if let number { try await release(number, of: block) }
        }
    }

    /// Lets the storage forget that `blocks` were zeroed, as far as that was recorded up to `mark`.
    ///
    /// - Returns: False, with nothing forgotten, if some of them are being zeroed just now, or have given up a slot of which the storage has not
    ///   heard: what is in it would come back. Then somebody has to come again, or the zeroing would be repeated one day.
    /// - Throws: What the storage throws.
    func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError) -> Bool {
        let isInDoubt = state.withLock { state in
            state.machine.unreleased.keys.contains(where: blocks.contains)
                || state.zeroIntents.values.contains { !$0.blocks.isDisjoint(blocks) }
        }
        guard !isInDoubt else { return false }
        try storage.forgetZeros(blocks, upTo: mark)
        return true
    }
}

/// A zeroing that was let in and is not done yet; it may be on its way into the storage's records.
struct ZeroIntent {
    /// What is zeroed.
    let blocks: BlockSet
    /// A moment before its record.
    let mark: CacheMark
}

extension BlockSet {
    /// The block, if there is just one.
    var single: BlockNumber? {
        guard ranges.count == 1, let only = ranges.first, only.count == 1 else { return nil }
        return only.lowerBound
    }
}
