// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Logging
internal import Synchronization

extension CacheFile {
    /// What a caller of ``commit()`` has to do.
    enum CommitTurn: Sendable {
        /// Nothing: it is done, or it failed.
        case done(isCommitted: Bool)
        /// Make the commit, for itself and for those who follow.
        case lead
    }

    /// See ``CacheStorage/commit()``. The first caller makes it on its own thread; those who come while it runs share the next.
    public func commit() async throws(BlockStoreError) {
        markDistrusted()
        let turn: CommitTurn
        if let now = state.withLock({ $0.joinNow() }) {
            turn = now
        } else {
            turn = await withCheckedContinuation { waiter in
                // Between the two looks the commit that ran may have ended.
                let now = state.withLock { state in
                    let now = state.joinNow()
                    if now == nil { state.waiting.append(waiter) }
                    return now
                }
                if let now { waiter.resume(returning: now) }
            }
        }
        switch turn {
        case .done(isCommitted: true): return
        case .done(isCommitted: false):
            throw BlockStoreError(.io, "cannot make the cache file durable: an earlier fdatasync of it failed")
        case .lead: try await leadCommit()
        }
    }

    /// See ``CacheStorage/commitNow()``. It is made on the calling thread if no other runs and no version is being overwritten.
    public func commitNow() throws(BlockStoreError) -> Bool {
        markDistrusted()
        let (turn, number): (CommitTurn?, UInt64?) = state.withLock { state in
            guard state.ledger.rewriteCount == 0, let turn = state.joinNow() else { return (nil, nil) }
            if case .lead = turn { return (turn, state.beginCommit()) }
            return (turn, nil)
        }
        if let number {
            try makeCommit(number)
            return true
        }
        if case .done(isCommitted: true) = turn { return true }
        return false
    }

    private func leadCommit() async throws(BlockStoreError) {
        await waitForRewrites()
        try makeCommit(state.withLock { $0.beginCommit() })
    }

    /// The commit `number`, which has begun.
    private func makeCommit(_ number: UInt64) throws(BlockStoreError) {
        do throws(BlockStoreError) {
            try disk.synchronize()
            let erasable = state.withLock { $0.ledger.endCommit(number) }
            try eraseRecords(erasable.lazy.map(\.location))
            state.withLock { $0.ledger.noteErased(erasable) }
        } catch {
            distrust(error)
            passOn(isCommitted: false)
            throw error
        }
        passOn(isCommitted: isTrusted)
    }

    /// A version that is being overwritten is neither the old one nor the new one, so nobody can be promised either.
    private func waitForRewrites() async {
        let isCalm = state.withLock { state in
            // From now on rewrites go elsewhere, so that this ends.
            state.ledger.isSyncWanted = true
            return state.ledger.rewriteCount == 0
        }
        guard !isCalm else { return }
        await withCheckedContinuation { waiter in
            let isCalm = state.withLock { state in
                if state.ledger.rewriteCount > 0 { state.drain = waiter }
                return state.ledger.rewriteCount == 0
            }
            if isCalm { waiter.resume() }
        }
    }

    /// Tells the followers, and makes the first of those who came later the next leader and the others its followers.
    private func passOn(isCommitted: Bool) {
        let (followers, leader) = state.withLock { state in
            let followers = state.followers
            guard state.ledger.isTrusted else {
                let everybody = followers + state.waiting
                state.followers = []
                state.waiting = []
                state.isCommitting = false
                return (everybody, CheckedContinuation<CommitTurn, Never>?.none)
            }
            let leader = state.waiting.isEmpty ? nil : state.waiting.removeFirst()
            state.followers = state.waiting
            state.waiting = []
            state.isCommitting = leader != nil
            return (followers, leader)
        }
        for follower in followers { follower.resume(returning: .done(isCommitted: isCommitted)) }
        leader?.resume(returning: .lead)
    }

    // MARK: Bringing sectors home

    /// Waits until nobody brings sectors home.
    func waitForRelocation() async {
        await withCheckedContinuation { waiter in
            let isOver = state.withLock { state in
                if state.isRelocating { state.relocationWaiters.append(waiter) }
                return !state.isRelocating
            }
            if isOver { waiter.resume() }
        }
    }

    /// Makes spares free: brings home what can be, and commits so that what has been left behind is free again.
    func makeSpares() async throws(BlockStoreError) {
        let isOurs = state.withLock { state in
            defer { state.isRelocating = true }
            return !state.isRelocating
        }
        guard isOurs else { return await waitForRelocation() }
        let outcome: Result<Void, BlockStoreError>
        do throws(BlockStoreError) {
            for (key, spare) in state.withLock({ $0.ledger.beginRelocation(countMax: 1024) }) { bringHome(key, from: spare) }
            // Once to make the homes durable, and once for the erasing of the spares.
            try await commit()
            try await commit()
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        let waiters = state.withLock { state in
            state.isRelocating = false
            defer { state.relocationWaiters = [] }
            return state.relocationWaiters
        }
        for waiter in waiters { waiter.resume() }
        // Without trust nothing has to be kept, and the next attempt needs no spare.
        if case .failure = outcome, isTrusted { try outcome.get() }
    }

    /// Copies a sector home as it is, record and all. One that cannot be copied stays where it is; a read will tell.
    private func bringHome(_ key: Int, from spare: Int) {
        var isHome = false
        do throws(BlockStoreError) {
            isHome = try withScratch(layout.sectorSize + CacheFileLayout.recordSize) { bytes throws(BlockStoreError) in
                let data = bytes.part(0, layout.sectorSize)
                let record = bytes.part(layout.sectorSize, CacheFileLayout.recordSize)
                try disk.read(into: data, at: layout.dataOffset(spare))
                try disk.read(into: record, at: layout.recordOffset(spare))
                guard CacheFileRecord(UnsafeRawBufferPointer(record), seed: seed) != nil else { return false }
                try disk.write(UnsafeRawBufferPointer(data), at: layout.dataOffset(key))
                try disk.write(UnsafeRawBufferPointer(record), at: layout.recordOffset(key))
                return true
            }
        } catch {
            logger.warning("cannot move a sector within the cache file", metadata: ["cause": "\(error)"])
        }
        state.withLock { $0.ledger.finishRelocation(key, from: spare, succeeded: isHome) }
    }
}

extension CacheFile.State {
    /// A commit begins, by whoever leads; see ``CacheFile/Ledger/beginCommit()``.
    fileprivate mutating func beginCommit() -> UInt64 {
        forecast.noteCommit()
        return ledger.beginCommit()
    }

    /// What a commit comes to if nobody has to be waited for.
    fileprivate mutating func joinNow() -> CacheFile.CommitTurn? {
        guard ledger.isTrusted else { return .done(isCommitted: false) }
        guard !isCommitting else { return nil }
        guard ledger.hasNews else { return .done(isCommitted: true) }
        isCommitting = true
        return .lead
    }
}
