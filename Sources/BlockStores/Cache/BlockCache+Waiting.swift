// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging
internal import Synchronization

/// Waiting, and being woken.
extension BlockCache {
    /// What is to be done after the lock is released.
    struct Wakeups {
        /// Whoever waited for the grant of a copy.
        var copiers: [Parking<Bool>.Wakeup] = []
        /// Whoever waited for room.
        var writers: [Parking<RoomAnswer>.Wakeup] = []
        /// Whoever waited for a block from the store.
        var fetchers: [Parking<FetchAnswer>.Wakeup] = []
        /// Whoever waited for a flush.
        var flushers: [Parking<FlushAnswer>.Wakeup] = []
        /// Whoever waited until a block's older slots are released.
        var successors: [Parking<ReleaseAnswer>.Wakeup] = []
        /// Slots that were given up.
        var releases: [CacheStateMachine.Release] = []
    }

    /// Collects whom the end of a copy lets go on; under the lock.
    func end(_ end: CacheStateMachine.CopyEnd, _ state: inout State) -> Wakeups {
        var wakeups = Wakeups()
        wakeups.copiers = end.granted.compactMap { state.copiers.answer($0, true) }
        wakeups.copiers += end.revoked.compactMap { state.copiers.answer($0, false) }
        if let release = end.release { wakeups.releases.append(release) }
        wakeups.writers = admitWriters(&state)
        return wakeups
    }

    /// Lets go on whoever was woken, and tells the storage of slots that were given up; outside of the lock.
    func finish(_ wakeups: Wakeups) {
        for wakeup in wakeups.copiers { wakeup() }
        for wakeup in wakeups.writers { wakeup() }
        for wakeup in wakeups.fetchers { wakeup() }
        for wakeup in wakeups.flushers { wakeup() }
        for wakeup in wakeups.successors { wakeup() }
        finish(releasing: wakeups.releases)
    }

    /// Tells the storage that slots hold nothing any more; then they, and their blocks, may be used again.
    ///
    /// A slot of which that cannot be recorded stays out of use, and so does its block: what it holds would come back after a crash
    /// once the zeroing is forgotten. The storage is told again after a pause.
    func finish(releasing releases: [CacheStateMachine.Release]) {
        for release in releases {
            var failure: BlockStoreError?
            do throws(BlockStoreError) {
                try storage.release(release.slot, of: release.block, wasDirty: release.wasDirty)
            } catch {
                failure = error
            }
            finish(state.withLock { released(release, failure, &$0) })
            // A zeroing may have waited for it, and the slot perhaps waits for a commit.
            if storage.isPersistent { doorbell.ring() }
            if let failure { report(failure, doing: "record in the cache file that block \(release.block) was given up") }
        }
    }

    /// The storage has recorded a release, or could not; under the lock.
    private func released(
        _ release: CacheStateMachine.Release, _ failure: BlockStoreError?, _ state: inout State
    ) -> Wakeups {
        guard let failure else {
            state.machine.released(release)
            var wakeups = Wakeups()
            wakeups.writers = admitWriters(&state)
            if state.machine.mayAllocate(release.block) {
                wakeups.successors = answerSuccessors(of: release.block, .released, &state)
            }
            return wakeups
        }
        let ends = state.machine.releaseFailed(release, now: timeline.now)
        var wakeups = endMutation(failure, ends, &state)
        wakeups.successors = answerSuccessors(of: release.block, .failed(failure), &state)
        return wakeups
    }

    private func answerSuccessors(
        of block: BlockNumber, _ answer: ReleaseAnswer, _ state: inout State
    ) -> [Parking<ReleaseAnswer>.Wakeup] {
        (state.successorsOf.removeValue(forKey: block) ?? []).compactMap { state.successors.answer($0, answer) }
    }

    /// Registers the caller for the release of the older slots of `block`, of which there are some; under the lock.
    func expectRelease(of block: BlockNumber, _ state: inout State) -> UInt64 {
        let number = state.machine.makeNumber()
        state.successors.expect(number)
        state.successorsOf[block, default: []].append(number)
        return number
    }

    /// Waits until the older slots of `block` are released.
    ///
    /// - Throws: What the storage throws; `.cancelled`.
    func release(_ number: UInt64, of block: BlockNumber) async throws(BlockStoreError) {
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLock { $0.successors.park(number, continuation) }?()
            }
        } onCancel: {
            state.withLock { $0.successors.answer(number, .cancelled) }?()
        }
        switch answer {
        case .released: break
        case .failed(let error): throw error
        case .cancelled:
            throw BlockStoreError(.cancelled, "cancelled while the cache file was to record that block \(block) was zeroed")
        }
    }

    // MARK: Copies

    /// Waits until a copy is granted.
    ///
    /// - Returns: False when it was taken back: start over.
    func granted(_ number: UInt64) async -> Bool {
        // Not cancellable: copies take microseconds, and whoever was granted one has to end it.
        await withCheckedContinuation { continuation in
            state.withLock { $0.copiers.park(number, continuation) }?()
        }
    }

    // MARK: Fetches

    /// Joins or asks for a fetch of `block`; under the lock.
    ///
    /// - Returns: The number to wait for with ``fetched(_:)``.
    func joinFetch(of block: BlockNumber, isForWrite: Bool, _ state: inout State) -> UInt64 {
        _ = state.machine.joinFetch(of: block, isForeground: true, isForWrite: isForWrite)
        // Takes the lock of a layer below under ours; never the other way.
        state.escalations.removeValue(forKey: block)?.raise()
        return expectFetch(of: block, &state)
    }

    /// Registers the caller for the end of the fetch of `block`; under the lock.
    func expectFetch(of block: BlockNumber, _ state: inout State) -> UInt64 {
        let number = state.machine.makeNumber()
        state.fetchers.expect(number)
        state.fetchersOf[block, default: []].append(number)
        return number
    }

    /// Waits for a fetch; when the task is cancelled the wait ends, the fetch does not.
    func fetched(_ number: UInt64) async -> FetchAnswer {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLock { $0.fetchers.park(number, continuation) }?()
            }
        } onCancel: {
            let error = BlockStoreError(.cancelled, "cancelled while waiting for the store")
            state.withLock { $0.fetchers.answer(number, .failed(error)) }?()
        }
    }

    /// Answers all who wait for `block`; under the lock.
    func answerFetchers(of block: BlockNumber, _ answer: FetchAnswer, _ state: inout State) -> [Parking<FetchAnswer>.Wakeup] {
        (state.fetchersOf.removeValue(forKey: block) ?? []).compactMap { state.fetchers.answer($0, answer) }
    }

    // MARK: Room

    /// Puts a writer into the line for room; under the lock.
    func lineUp(_ state: inout State) -> UInt64 {
        let number = state.machine.makeNumber()
        state.writers.expect(number)
        if let refusal = state.refusal {
            // Whoever looked before it was known has missed the end of the line.
            _ = state.writers.answer(number, .failed(refusal))
            return number
        }
        state.writersInLine.append(number)
        state.machine.isRoomWanted = true
        return number
    }

    /// Waits in the line.
    ///
    /// - Throws: `.cancelled`; `.fenced` once the store has said that the volume is somebody else's: then no room is made any more;
    ///   `.io` once ``drain()`` has begun.
    func room(_ number: UInt64, of block: BlockNumber) async throws(BlockStoreError) {
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLock { $0.writers.park(number, continuation) }?()
            }
        } onCancel: {
            state.withLock { $0.writers.answer(number, .cancelled) }?()
        }
        switch answer {
        case .admitted: break
        case .failed(let error): throw error
        case .cancelled:
            throw BlockStoreError(.cancelled, "cannot write block \(block): cancelled while the cache was full of unsaved blocks")
        }
    }

    /// Waits until there may be room for `block`; returns at once when there is.
    ///
    /// - Returns: Whether the caller was admitted.
    func waitForRoom(for block: BlockNumber) async throws(BlockStoreError) -> Bool {
        let number = state.withLock { state in
            state.machine.roomCount > state.admittedCount ? nil : lineUp(&state)
        }
        guard let number else { return false }
        doorbell.ring()
        try await room(number, of: block)
        return true
    }

    /// Lets as many writers go on as there is room for, first come first; under the lock.
    ///
    /// To be called after everything that makes room. Each of those admitted asks again, and what it turns out not to need is passed
    /// on then (``returnAdmission(_:)``). Who finds that others were faster lines up again.
    func admitWriters(_ state: inout State) -> [Parking<RoomAnswer>.Wakeup] {
        guard state.machine.isRoomWanted else { return [] }
        var wakeups: [Parking<RoomAnswer>.Wakeup] = []
        if let refusal = state.refusal {
            while let number = state.writersInLine.popFirst() {
                if let wakeup = state.writers.answer(number, .failed(refusal)) { wakeups.append(wakeup) }
            }
        }
        var room = state.machine.roomCount - state.admittedCount
        while room > 0, let number = state.writersInLine.popFirst() {
            // It may have been cancelled.
            guard state.writers.waits(number) else { continue }
            if let wakeup = state.writers.answer(number, .admitted) { wakeups.append(wakeup) }
            state.admittedCount += 1
            room -= 1
        }
        state.machine.isRoomWanted = state.writersInLine.count > 0
        return wakeups
    }

    /// A writer that was admitted has asked again: what it left of the room is for the next one; under the lock.
    func returnAdmission(_ state: inout State) -> [Parking<RoomAnswer>.Wakeup] {
        state.admittedCount -= 1
        return admitWriters(&state)
    }
}
