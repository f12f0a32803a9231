// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

@testable import BlockStores

/// What `BlockCache` does around the machine, and at the same moments.
extension CacheWorld {
    /// Asks the machine, and notes which slots changed their state by it.
    func tell<Answer>(_ event: CacheEvent, _ body: (inout CacheStateMachine) -> Answer) -> Answer {
        let answer = body(&machine)
        observe(event)
        return answer
    }

    /// One round of `run()`.
    func pump() {
        isRung = false
        finish(tell(.expired) { $0.expire(now: now) })
        for number in machine.expireFlushes(now: now) { flushers.removeValue(forKey: number)?.end(self, .timedOut) }
        guard let job = tell(.taken, { $0.takeJob(now: now) }) else {
            deadline = machine.nextDeadline(now: now)
            if let deadline, deadline <= now { fail("run() would spin: nothing to do, but not to wait either") }
            return
        }
        isRung = true
        switch job {
        case .fetch(let block): tasks.append(FetchTask(self, block, isJob: true))
        case .upload(let block): tasks.append(UploadTask(block))
        case .zero(let number, let blocks): tasks.append(ZeroingTask(self, number, blocks))
        case .commit(let number): tasks.append(CommitTask(self, number))
        }
    }

    // MARK: Copies

    /// A copy is over: whoever waited for it goes on.
    func finish(_ end: CacheStateMachine.CopyEnd) {
        for number in end.granted { copiers.removeValue(forKey: number)?.wake(granted: true) }
        wake(revoked: end.revoked)
        if let release = end.release { finish([release]) }
        admitWriters()
    }

    func wake(revoked: [UInt64]) {
        for number in revoked { copiers.removeValue(forKey: number)?.wake(granted: false) }
    }

    /// The storage is told of released slots, a little later.
    func finish(_ releases: [CacheStateMachine.Release]) {
        guard !releases.isEmpty else { return }
        for release in releases {
            let slot = Int(release.slot.rawValue)
            if isPersistent, !release.wasDirty, !userSectors[slot].isEmpty {
                fail("slot \(slot) is released as clean, but holds what the store does not have")
            }
        }
        tasks.append(ReleaseTask(releases))
    }

    /// As `admitWriters` of the cache.
    func admitWriters() {
        if (machine.roomCount > 0) != (machine.hasRoom && machine.dirtyCount < machine.limits.dirtyMax) {
            fail("there is room for \(machine.roomCount), and \(machine.hasRoom ? "a" : "no") slot for the next")
        }
        guard machine.isRoomWanted else { return }
        let admitted = line.prefix(max(0, machine.roomCount - admittedCount))
        for task in admitted { task.wake(granted: true) }
        line.removeFirst(admitted.count)
        admittedCount += admitted.count
        machine.isRoomWanted = !line.isEmpty
    }

    func lineUp(_ task: CacheTask) {
        line.append(task)
        machine.isRoomWanted = true
        isRung = true
    }

    /// A slot gets another block: it must be nobody's, and what it held must be safe.
    func assign(_ slot: CacheSlot, to block: BlockNumber) {
        let index = Int(slot.rawValue)
        if heldBack[index] != nil { fail("slot \(index) is used again before a commit that follows its last dirty bytes") }
        if isPersistent, !userSectors[index].isEmpty { fail("slot \(index) is used again with unsaved bytes") }
        if isPersistent, hasUnreleasedSlot(Int(block.rawValue)) {
            fail("block \(block) gets slot \(index) while the storage still has an older one of it")
        }
        tenants[index] = Int(block.rawValue)
        bytes[index] = bytes[index].map { _ in Self.garbage }
        slotVersions[index] = -1
    }

    /// Sectors turn out to be damaged.
    ///
    /// - Returns: Whether asking again leads elsewhere.
    @discardableResult func forget(_ block: BlockNumber, _ damaged: [Int]) -> Bool {
        let (isForgotten, release) = tell(.unreadable) { $0.forget(block, damaged) }
        if let release { finish([release]) }
        return isForgotten
    }

    /// Whether the storage has not been told yet that `block` gave up a slot.
    func hasUnreleasedSlot(_ block: Int) -> Bool {
        machine.entries.slots.contains { slot in
            let entry = machine.entries[slot]
            guard tenants[Int(slot.rawValue)] == block, Int(entry.block.rawValue) == block else { return false }
            return entry.state == .detached || entry.state == .released
        }
    }

    /// A task waits until the older slots of `block` are released.
    func waitForRelease(_ task: CacheTask, of block: BlockNumber) {
        if machine.mayAllocate(block) { fail("block \(block) has no slot whose release could be waited for") }
        task.isReady = false
        successors[block, default: []].append(task)
    }

    func answerSuccessors(of block: BlockNumber, granted: Bool) {
        for task in successors.removeValue(forKey: block) ?? [] { task.wake(granted: granted) }
    }

    // MARK: Fetches

    func joinFetch(_ task: CacheTask, of block: BlockNumber, isForWrite: Bool) {
        _ = machine.joinFetch(of: block, isForeground: true, isForWrite: isForWrite)
        fetchers[block, default: []].append(task)
        isRung = true
    }

    func answerFetchers(of block: BlockNumber, _ answer: CacheTask.FetchAnswer) {
        for task in fetchers.removeValue(forKey: block) ?? [] { task.wake(fetched: answer) }
    }

    // MARK: Flushes

    func end(_ flushes: [CacheStateMachine.FlushEnd], isDone: Bool) {
        for end in flushes {
            if end.isFailed, isDone { fail("a flush fails by a success") }
            flushers.removeValue(forKey: end.number)?.end(self, end.isFailed ? .failed : .done)
        }
        admitWriters()
        isRung = true
    }

    // MARK: The store

    /// A mutation goes down: it must be the only one of its blocks.
    func beginChange(_ block: Int) {
        if isChanging[block] { fail("two mutations of block \(block) at once") }
        isChanging[block] = true
        changeCounts[block] += 1
        isKnownZero[block] = false
    }

    /// The store takes a block.
    func apply(_ cells: [CacheCell], to block: Int) {
        for sector in cells.indices {
            let isPromised = history[block][sector][promised[block][sector]...].contains { $0.cell == cells[sector] }
            if !isPromised { fail("block \(block) sector \(sector): the store gets something older than a flush has promised") }
        }
        store[block] = cells
        storeVersions[block] += 1
    }

    /// A mutation has come back.
    func endChange(_ block: Int, isZero: Bool) {
        isChanging[block] = false
        changeCounts[block] += 1
        isKnownZero[block] = isZero
    }

    // MARK: What readers must see

    func truth(_ block: Int, _ sector: Int) -> CacheCell {
        guard let last = history[block][sector].last else { return Self.garbage }
        return last.cell
    }

    func setTruth(_ block: Int, _ sector: Int, _ cell: CacheCell) {
        history[block][sector].append((since: clock, cell: cell))
    }

    /// Whether readers who began at `step` may see `cell`: it is what counted then, or became so later.
    func mayBeSeen(_ cell: CacheCell, _ block: Int, _ sector: Int, since step: Int) -> Bool {
        for entry in history[block][sector].reversed() {
            if entry.cell == cell { return true }
            if entry.since < step { return false }
        }
        return false
    }
}
