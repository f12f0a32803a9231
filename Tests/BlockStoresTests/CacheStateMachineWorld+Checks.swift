// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

@testable import BlockStores

/// What must be true between any two steps, and at rest.
extension CacheWorld {
    /// After each step: the contents always, the books in turns.
    func check() {
        let block = clock % blockCount
        checkContents(of: block)
        let isRoomLeft = !line.isEmpty && machine.roomCount > admittedCount
        if isRoomLeft { fail("writers wait, and there is room for more than those that were let in") }
        if clock % 16 == 0 {
            for block in 0..<blockCount { checkContents(of: block) }
            checkSlots()
            checkBooks()
        }
    }

    /// Nothing is lost: what readers must see is where the machine says that it is.
    private func checkContents(of block: Int) {
        let number = BlockNumber(block)
        guard let slot = machine.slot(of: number) else {
            let isPending = machine.pendingZeros.contains(number)
            for sector in 0..<Self.sectorCount where truth(block, sector) != (isPending ? 0 : store[block][sector]) {
                fail("block \(block) sector \(sector) is not held, and \(isPending ? "is to be zeros" : "the store is behind")")
            }
            return
        }
        let entry = machine.entries[slot]
        for sector in 0..<Self.sectorCount {
            let one = sector..<sector + 1
            let isDirty = machine.dirty.isAllSet(one, of: slot)
            let isValid = machine.valid.isAllSet(one, of: slot)
            if isDirty, !isValid { fail("block \(block) sector \(sector) is dirty and not valid") }
            let truth = truth(block, sector)
            if entry.isUnverified ? isDirty : isValid {
                guard !machine.isReadBlocked(slot, one) else { continue }
                let held = bytes[Int(slot.rawValue)][sector]
                if held != truth { fail("block \(block) sector \(sector) is held with a wrong content") }
            } else if entry.isZeroElsewhere, !entry.isUnverified {
                if truth != 0 { fail("block \(block) sector \(sector) counts as zero and is not") }
            } else if !machine.isReadBlocked(slot, one), store[block][sector] != truth {
                fail("block \(block) sector \(sector) is left to the store, which is behind")
            }
            if entry.state == .clean, store[block][sector] != truth { fail("block \(block) is clean, and the store behind") }
        }
    }

    private func checkSlots() {
        var dirtyCount = 0
        var held = 0
        var listed = 0
        for slot in machine.entries.slots {
            let entry = machine.entries[slot]
            let isAnyDirty = !machine.dirty.isEmpty(slot)
            switch entry.state {
            case .free, .released, .quarantined, .detached:
                if isAnyDirty || !machine.valid.isEmpty(slot) { fail("slot \(slot) is \(entry.state) and has bits") }
                if entry.list != nil { fail("slot \(slot) is \(entry.state) and in a line") }
                continue
            case .filling, .clean:
                if isAnyDirty { fail("slot \(slot) is \(entry.state) and has dirty bits") }
                if (entry.list != nil) != (entry.state == .clean) { fail("slot \(slot) stands in a wrong line") }
            case .dirty, .waiting:
                dirtyCount += 1
                if !isAnyDirty { fail("slot \(slot) is dirty without dirty bits") }
                if (entry.list != nil) != (entry.state == .dirty) { fail("slot \(slot) stands in a wrong line") }
            case .uploading:
                dirtyCount += 1
                if machine.uploads[entry.block]?.slot != slot { fail("slot \(slot) uploads, but no upload has it") }
            }
            held += 1
            if entry.list != nil { listed += 1 }
            if machine.slot(of: entry.block) != slot { fail("slot \(slot) is not the one of its block") }
        }
        if held != machine.heldCount { fail("\(machine.heldCount) blocks are held, and \(held) slots are used") }
        if dirtyCount != machine.dirtyCount { fail("\(machine.dirtyCount) dirty blocks are counted, \(dirtyCount) there") }
        let inLines = CacheStateMachine.List.allCases.reduce(0) { $0 + machine.lists.count(of: $1) }
        if inLines != listed { fail("\(inLines) slots in lines, \(listed) by their entries") }
        let quarantined = machine.quarantine + machine.commits.values.flatMap { $0 }
        for (slots, state) in [(machine.freeSlots, CacheStateMachine.SlotState.free), (quarantined, .quarantined)] {
            let those = machine.entries.slots.filter { machine.entries[$0].state == state }
            if Set(slots).count != slots.count || Set(slots) != Set(those) {
                fail("not every slot is listed once that is \(state)")
            }
        }
    }

    private func checkBooks() {
        var counts: [CacheStateMachine.Epoch: Int] = [:]
        for slot in machine.entries.slots where !machine.dirty.isEmpty(slot) {
            counts[machine.entries[slot].epoch, default: 0] += 1
        }
        var pending = BlockSet()
        var zeroed = 0
        for upload in machine.uploads.values where upload.hasSnapshot { counts[upload.epoch, default: 0] += 1 }
        for batch in machine.zeroBatches {
            counts[batch.epoch, default: 0] += 1
            pending.formUnion(batch.blocks)
            zeroed += batch.blocks.blockCount
        }
        for flight in machine.zeroFlights {
            counts[flight.epoch, default: 0] += 1
            pending.formUnion(flight.wanted)
            zeroed += flight.wanted.blockCount
            for block in machine.uploads.keys where flight.blocks.contains(block) {
                fail("block \(block) is uploaded and zeroed at once")
            }
        }
        let books = Dictionary(uniqueKeysWithValues: machine.outstanding.map { ($0.epoch, $0.count) })
        if books != counts { fail("outstanding by epoch: \(books) in the books, \(counts) there") }
        if machine.outstanding.map(\.epoch) != books.keys.sorted() { fail("the epochs are not in order") }
        if pending.blockCount != zeroed { fail("a block is to be zeroed twice") }
        if machine.pendingZeros.count != zeroed || !pending.blocks.allSatisfy(machine.pendingZeros.contains) {
            fail("the pending zeros are not those of the batches and flights")
        }
        let waited = machine.flushes.contains { flush in (machine.outstanding.first?.epoch ?? .max) > flush.epoch }
        if waited { fail("a flush waits for nothing") }
    }

    /// Everything has ended, nothing is kept, and the store has what readers saw last.
    func checkRest() {
        for block in 0..<blockCount { checkContents(of: block) }
        checkSlots()
        checkBooks()
        guard problem == nil else { return }
        if !tasks.isEmpty {
            return fail(
                "something waits for ever: \(tasks.map { type(of: $0) }); \(line.count) for room, \(machine.roomCount) there, "
                    + "\(admittedCount) admitted, \(machine.entries.slots.map { machine.entries[$0].state })")
        }
        for block in 0..<blockCount where (0..<Self.sectorCount).contains(where: { store[block][$0] != truth(block, $0) }) {
            fail("at rest the store lacks block \(block)")
        }
        let left: [Int] = [
            machine.copies.count, machine.fetches.count, machine.uploads.count, machine.zeroBatches.count,
            machine.zeroFlights.count, machine.flushes.count, machine.outstanding.count, machine.extentQueries.count,
            machine.commits.count, machine.dirtyCount, machine.pendingZeros.count, machine.aheadInFlight,
            machine.foregroundFetches.count, machine.aheadFetches.count, line.count, copiers.count, flushers.count,
        ]
        if left.contains(where: { $0 != 0 }) { fail("at rest something is kept: \(left)") }
        let unreleased = [machine.unreleased.count, machine.failedReleases.count, successors.count, admittedCount]
        if unreleased != [0, 0, 0, 0] { fail("at rest something is not released: \(unreleased)") }
    }
}
