// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging
internal import Synchronization

/// Bringing blocks and zeroings to the store.
extension BlockCache {
    /// Brings a block to the store. The upload counts as begun.
    func upload(_ block: BlockNumber) async {
        let began = timeline.now
        let outcome: Result<BlockVersion?, SendFailure>
        do throws(SendFailure) {
            outcome = .success(try await send(block))
        } catch {
            outcome = .failure(error)
        }
        let now = timeline.now
        let damaged = outcome.failure?.damaged
        let (wakeups, mends) = state.withLock { state in
            let isDone = if case .success(.some) = outcome { true } else { false }
            if isDone { state.times.upload.add(now - began) }
            // What is damaged here and whole in the store is fetched again, and no flush needs to hear of it; unless that was no use.
            let mends = damaged.map { state.machine.canForget(block, $0) && state.mended.insert(block).inserted } ?? false
            if outcome.failure == nil { state.mended.remove(block) }
            let (_, ends) = state.machine.endUpload(of: block, Self.mutationOutcome(outcome, mends: mends), now: now)
            var wakeups = endMutation(outcome.failure?.error, ends, &state)
            if let damaged, let release = state.machine.forget(block, damaged).release { wakeups.releases.append(release) }
            return (wakeups, mends)
        }
        finish(wakeups)
        if mends, let error = outcome.failure?.error { return warnOfDamage(error) }
        // One that was given up has perhaps not even been sent, and says nothing about the store.
        if case .success(nil) = outcome { return }
        report(outcome.failure?.error, doing: "write block \(block) back")
    }

    /// Assembles a block and sends it.
    ///
    /// - Returns: Its version in the store; nil when it was zeroed meanwhile.
    private func send(_ block: BlockNumber) async throws(SendFailure) -> BlockVersion? {
        guard let snapshot = try await snapshot(of: block) else { return nil }
        let version: BlockVersion
        do throws(BlockStoreError) {
            // The storage must never be behind the store: else a crash would bring older bytes back over newer ones.
            try await commitStorage()
            guard state.withLock({ $0.machine.beginMutation(of: block) }) else { return nil }
            version = try await next.write(.bytes(snapshot.bytes), to: block, .background)
            guard storage.isPersistent else { return version }
            // An attempt without an answer may still undo the write; until that is excluded the block stays recorded as dirty.
            try await next.flush(.blocks(BlockSet(block..<block.advanced(by: 1))))
        } catch {
            throw SendFailure(error)
        }
        // A block that was zeroed meanwhile has given its slot back, or is about to: then there is nothing to record, and its zeroing waits.
        guard let pin = state.withLock({ $0.machine.pinUpload(of: block) }) else { return version }
        defer { finish(state.withLock { end($0.machine.endCopy(pin), &$0) }) }
        let isRecorded = try local { () throws(BlockStoreError) in
            try storage.setVersion(version, of: block, in: snapshot.slot, upTo: snapshot.mark)
            // Else an older record that the block was zeroed would count again once its slot belongs to another block.
            return try forgetZeros(BlockSet(block..<block.advanced(by: 1)), upTo: snapshot.mark)
        }
        return isRecorded ? version : nil
    }

    /// Asks something of the storage. What a local disk does not do now it will not do by waiting for the store; but a storage that has just
    /// lost its trust promises nothing any more, and goes on without.
    private func local<Answer>(_ body: () throws(BlockStoreError) -> Answer) throws(SendFailure) -> Answer {
        let wasTrusted = storage.isTrusted
        do throws(BlockStoreError) {
            return try body()
        } catch {
            throw SendFailure(error, isPermanent: storage.isTrusted == wasTrusted)
        }
    }

    private struct Snapshot {
        let slot: CacheSlot
        let bytes: BufferSlice
        /// The storage's mark when it was taken.
        let mark: CacheMark
    }

    /// Copies a block as it is, once all of it is known.
    ///
    /// - Returns: Nil when it was zeroed meanwhile.
    private func snapshot(of block: BlockNumber) async throws(SendFailure) -> Snapshot? {
        while true {
            let (step, isFetcher, number) = state.withLock { state in
                let step = state.machine.prepareUpload(of: block)
                switch step {
                case .gone: return (step, false, UInt64(0))
                case .needsBytes:
                    if state.machine.startFetch(of: block) { return (step, true, UInt64(0)) }
                    return (step, false, expectFetch(of: block, &state))
                case .copy(let ticket, let isGranted):
                    if !isGranted { state.copiers.expect(ticket.number) }
                    return (step, false, ticket.number)
                }
            }
            switch step {
            case .gone: return nil
            case .needsBytes:
                switch isFetcher ? await fetch(block) : await fetched(number) {
                case .failed(let error): throw SendFailure(error)
                case .unkept(_, let error): throw SendFailure(error, isPermanent: true)
                case .startOver, .contents: break
                }
            case .copy(let ticket, let isGranted):
                if !isGranted { guard await granted(ticket.number) else { continue } }
                if let snapshot = try copyForUpload(block, ticket) { return snapshot }
            }
        }
    }

    /// - Returns: Nil when it has to be asked again what to do.
    private func copyForUpload(
        _ block: BlockNumber, _ ticket: CacheStateMachine.CopyTicket
    ) throws(SendFailure) -> Snapshot? {
        // No write of this block runs now, so that the mark divides its writes.
        let (holes, mark) = state.withLock { state in
            (state.machine.takeSnapshot(of: block, ticket), lastWrite(of: block, state.zeroIntents))
        }
        let copied = holes.map { copyOut(0..<geometry.blockSize, of: block, ticket.slot, holes: $0) }
        let damaged = copied?.isCorrupt == true ? damagedSectors(of: block, ticket, holes ?? []) : nil
        finish(state.withLock { end($0.machine.endCopy(ticket), &$0) })
        switch copied {
        case nil, .success(.zero): return nil
        case .failure(let error): throw SendFailure(error, isPermanent: true, damaged: damaged)
        case .success(.bytes(let slice)): return Snapshot(slot: ticket.slot, bytes: slice, mark: mark)
        }
    }

    /// Zeroes blocks in the store. The flight counts as begun.
    func zeroInStore(_ number: UInt64, _ blocks: BlockSet) async {
        var failure: SendFailure?
        var isRecorded = true
        do throws(SendFailure) {
            isRecorded = try await zeroAndRecord(blocks)
        } catch {
            failure = error
        }
        let outcome: CacheStateMachine.MutationOutcome =
            if let failure { .failed(isPermanent: failure.isPermanent) } else { isRecorded ? .done : .abandoned }
        let wakeups = state.withLock { state in
            let (_, ends) = state.machine.endZero(number, outcome, now: timeline.now)
            return endMutation(failure?.error, ends, &state)
        }
        finish(wakeups)
        report(failure?.error, doing: "zero \(blocks.blockCount) blocks")
    }

    /// - Returns: False when the storage must not forget the zeroing yet.
    private func zeroAndRecord(_ blocks: BlockSet) async throws(SendFailure) -> Bool {
        let mark = storage.mark
        do throws(BlockStoreError) {
            try await commitStorage()
            try await next.zero(blocks, .background)
            if storage.isPersistent { try await next.flush(.blocks(blocks)) }
        } catch {
            throw SendFailure(error)
        }
        guard storage.isPersistent else { return true }
        return try local { () throws(BlockStoreError) in try forgetZeros(blocks, upTo: mark) }
    }

    /// Collects whom the end of a mutation lets go on; under the lock.
    func endMutation(
        _ failure: BlockStoreError?, _ ends: [CacheStateMachine.FlushEnd], _ state: inout State
    ) -> Wakeups {
        if let failure, failure.code == .fenced { state.lostVolume = failure }
        var wakeups = Wakeups()
        wakeups.writers = admitWriters(&state)
        for end in ends {
            let answer: FlushAnswer = if end.isFailed, let failure { .failed(failure) } else { .done }
            if let wakeup = state.flushers.answer(end.number, answer) { wakeups.flushers.append(wakeup) }
        }
        return wakeups
    }

    private static func mutationOutcome(
        _ result: Result<BlockVersion?, SendFailure>, mends: Bool
    ) -> CacheStateMachine.MutationOutcome {
        switch result {
        case .success(.some): .done
        case .success(.none): .abandoned
        case .failure(let error): .failed(isPermanent: error.isPermanent && !mends)
        }
    }

    /// Tells the log of failures without flooding it, and of their end.
    func report(_ failure: BlockStoreError?, doing what: String) {
        let line = state.withLock { state in
            let unsaved = state.machine.dirtyCount + state.machine.pendingZeros.count
            return state.failures.note(failure, doing: what, unsaved: unsaved, now: timeline.now)
        }
        switch line {
        case .failing(let text): logger.error("\(text)")
        case .recovered(let text): logger.notice("\(text)")
        case nil: break
        }
    }
}

extension Result {
    /// The error, if it is one.
    fileprivate var failure: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}
