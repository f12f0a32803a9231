// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// Which slot a block gets, and how it loses it.
extension CacheStateMachine {
    /// Gives `block`, which is not held, a slot: a free one, or that of the least recently used clean block.
    ///
    /// - Returns: Nil when everything is dirty or in use.
    mutating func allocate(for block: BlockNumber) -> CacheSlot? {
        guard let slot = takeSlot() else { return nil }
        entries[slot] = Entry(block: block, state: .filling)
        index.insert(slot, for: block)
        return slot
    }

    private mutating func takeSlot() -> CacheSlot? {
        if let slot = freeSlots.popLast() { return slot }
        if entries.count < limits.slotCount { return entries.append(Entry()) }
        guard let slot = evictable(in: .clean) ?? evictable(in: .protected) else { return nil }
        evict(slot)
        return slot
    }

    /// Whether ``allocate(for:)`` would find a slot.
    var hasRoom: Bool {
        !freeSlots.isEmpty || entries.count < limits.slotCount || evictable(in: .clean) != nil || evictable(in: .protected) != nil
    }

    /// How many blocks more may get a slot and become dirty now.
    var roomCount: Int {
        guard dirtyCount < limits.dirtyMax else { return 0 }
        let copied = Set(copies.map(\.slot)).count { entries[$0].list == .clean || entries[$0].list == .protected }
        let evictableCount = lists.count(of: .clean) + lists.count(of: .protected) - copied
        return min(limits.dirtyMax - dirtyCount, freeSlots.count + limits.slotCount - entries.count + evictableCount)
    }

    /// The first slot of a list of settled clean ones that nobody copies from or to. Passes over no more slots than are copied.
    private func evictable(in list: List) -> CacheSlot? {
        var candidate = lists.first(of: list)
        while let slot = candidate {
            if !isBeingCopied(slot) { return slot }
            candidate = lists.next(after: slot)
        }
        return nil
    }

    /// Takes a clean slot away from its block; the caller says what becomes of it.
    mutating func evict(_ slot: CacheSlot) {
        precondition(entries[slot].state == .clean, "only clean blocks are evicted")
        unlist(slot)
        index.remove(entries[slot].block)
        // It may have been uploaded since the store below was asked, and then nothing else tells that it is data.
        for query in extentQueries.keys { extentQueries[query]?.insert(entries[slot].block) }
        valid.clear(slot)
        entries[slot] = Entry()
    }

    /// Gives up a clean slot without need: the storage must hear of it, or it would have two slots of the block one day.
    mutating func giveUp(_ slot: CacheSlot) -> Release {
        let release = Release(slot: slot, block: entries[slot].block, wasDirty: !isSettled(slot))
        evict(slot)
        unreleased[release.block, default: 0] += 1
        entries[slot] = Entry(block: release.block, state: .released)
        return release
    }

    /// Makes a slot free that belongs to no block any more.
    mutating func free(_ slot: CacheSlot) {
        entries[slot] = Entry()
        freeSlots.append(slot)
    }

    /// Evicts what was unused for too long.
    ///
    /// - Returns: What the storage is to be told, for the first time or again.
    mutating func expire(now: Duration) -> [Release] {
        var releases = takeFailedReleases(now: now)
        guard let keptFor = limits.keptFor else { return releases }
        let limit = (now - keptFor).microseconds
        for list in [List.unsettled, .clean, .protected] {
            while let slot = lists.first(of: list), entries[slot].time <= limit, !isBeingCopied(slot) {
                releases.append(giveUp(slot))
            }
        }
        return releases
    }
}
