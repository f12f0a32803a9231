// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// The lines in which slots wait for what is done with them.
extension CacheStateMachine {
    /// The lines that a slot can stand in.
    enum List: Int, Sendable, CaseIterable {
        /// Clean, least recently used first.
        case clean
        /// The same for protected blocks.
        case protected
        /// Clean, but not to be given away before a commit that begins now; cleaned first first.
        case unsettled
        /// Dirty, first written first.
        case dirty
        /// Dirty after a failed upload, first failed first.
        case failed
        /// Dirty and wanted by a flush.
        case urgent
    }

    /// Takes the slot out of the line it stands in.
    mutating func unlist(_ slot: CacheSlot) {
        guard let list = entries[slot].list else { return }
        lists.remove(slot, from: list)
        entries[slot].list = nil
    }

    /// Puts the slot at the end of a line.
    mutating func enlist(_ slot: CacheSlot, in list: List) {
        unlist(slot)
        lists.append(slot, to: list)
        entries[slot].list = list
    }

    /// The block is as the store has it.
    mutating func becomeClean(_ slot: CacheSlot, now: Duration) {
        entries[slot].state = .clean
        touch(slot, now: now)
    }

    /// A clean block was used: it is evicted last.
    mutating func touch(_ slot: CacheSlot, now: Duration) {
        guard entries[slot].state == .clean else { return }
        entries[slot].time = now.microseconds
        guard isSettled(slot) else {
            // Where it stands says since when it is clean, not when it was used.
            if entries[slot].list != .unsettled { enlist(slot, in: .unsettled) }
            return
        }
        let list = cleanList(of: slot)
        if entries[slot].list == list { lists.moveToEnd(slot, of: list) } else { enlist(slot, in: list) }
    }

    /// A commit has succeeded: what was clean before it began may be given away.
    mutating func settleClean() {
        while let slot = lists.first(of: .unsettled), isSettled(slot) { enlist(slot, in: cleanList(of: slot)) }
    }

    private func cleanList(of slot: CacheSlot) -> List {
        Int(entries[slot].block.rawValue) < limits.protectedCount ? .protected : .clean
    }

    /// The block, which is dirty, waits for its upload; with due time and epoch as they stand.
    mutating func becomeDirty(_ slot: CacheSlot) {
        let block = entries[slot].block
        guard uploads[block] == nil, !isBeingZeroed(block) else {
            unlist(slot)
            entries[slot].state = .waiting
            return
        }
        entries[slot].state = .dirty
        let isUrgent = entries[slot].epoch <= flushedEpoch || isDraining || isWanted(block, entries[slot].epoch)
        enlist(slot, in: isUrgent ? .urgent : .dirty)
    }
}
