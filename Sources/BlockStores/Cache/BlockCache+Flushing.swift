// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging
internal import Synchronization

/// Making things durable.
extension BlockCache {
    /// Makes durable what was acknowledged before: in the store, or with `--flush=local` on the local disk.
    ///
    /// A store that does not take the data for now is waited for, at most as long as the settings say.
    ///
    /// - Throws: `.fenced` once the store has said that the volume is somebody else's; `.timedOut` when the wait is over; the refusal of
    ///   the store or of the local disk, if it is permanent; `.cancelled`. The data stays dirty, and the next flush tries again.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        try failIfLost()
        let began = timeline.now
        if try await !flushToStorage() { try await flushToStore(scope) }
        state.withLock { $0.times.flush.add(timeline.now - began) }
    }

    /// Makes everything durable on the calling thread, where that is a commit of the local disk that needs nobody else.
    ///
    /// - Returns: False when ``flush(_:)`` has to be asked.
    public func flushNow() -> Bool {
        guard settings.flushMode == .local, storage.isTrusted else { return false }
        let began = timeline.now
        let number = state.withLock { $0.lostVolume == nil ? $0.machine.beginCommit() : nil }
        guard let number else { return false }
        let isDone: Bool
        do throws(BlockStoreError) {
            isDone = try storage.commitNow()
        } catch {
            // The storage has told the log. Asked again, it says that it is not trusted any more.
            isDone = false
        }
        endCommit(number, succeeded: isDone)
        guard isDone, storage.isTrusted else { return false }
        state.withLock { $0.times.flush.add(timeline.now - began) }
        return true
    }

    /// - Throws: `.fenced` once the store has said that the volume is somebody else's: the store would not get what is taken now.
    func failIfLost() throws(BlockStoreError) {
        if let lost = state.withLock({ $0.lostVolume }) { throw lost }
    }

    /// Commits the storage, where that is what a flush promises.
    ///
    /// - Returns: False where it is not, or not any more.
    private func flushToStorage() async throws(BlockStoreError) -> Bool {
        guard settings.flushMode == .local, storage.isPersistent, storage.isTrusted else { return false }
        do throws(BlockStoreError) {
            try await commitStorage()
        } catch  where error.code != .cancelled {
            logger.error(
                "the cache file is not trusted any more: from now on a flush waits for the store", metadata: ["cause": "\(error)"]
            )
            return false
        }
        // Trust never comes back. If it was there until now, the commit was made; without it, none is.
        return storage.isTrusted
    }

    /// Waits until everything in `scope` that was acknowledged before is in the store.
    ///
    /// - Throws: As ``flush(_:)``.
    func flushToStore(_ scope: FlushScope) async throws(BlockStoreError) {
        let deadline = settings.flushTimeout.map { timeline.now + $0 }
        let number = state.withLock { state in
            let number = state.machine.beginFlush(scope, deadline: deadline)
            if let number { state.flushers.expect(number) }
            return number
        }
        if let number {
            doorbell.ring()
            switch await flushed(number) {
            case .done: break
            case .failed(let error): throw error
            case .cancelled: throw BlockStoreError(.cancelled, "cancelled while waiting until the store has the data")
            case .timedOut: throw flushTimedOut
            }
        }
        try await flushBelow(scope, deadline: deadline)
    }

    /// Passes the scope down. What the layers below cannot confirm for now is waited for, like an upload.
    private func flushBelow(_ scope: FlushScope, deadline: Duration?) async throws(BlockStoreError) {
        var hasFailed = false
        while true {
            do throws(BlockStoreError) {
                try await confirmBelow(scope, deadline: deadline)
                if hasFailed { report(nil, doing: "confirm what was written") }
                return
            } catch {
                guard !error.isPermanent, error.code != .cancelled else { throw error }
                report(error, doing: "confirm what was written")
                hasFailed = true
            }
            if let deadline, timeline.now >= deadline { throw flushTimedOut }
            do {
                try await timeline.sleep(until: timeline.now + Self.failurePause)
            } catch {
                throw BlockStoreError(.cancelled, "cancelled while waiting until the store has the data", cause: error)
            }
        }
    }

    /// Flushes the store below. At the deadline that is cancelled: its own repetitions may take much longer.
    private func confirmBelow(_ scope: FlushScope, deadline: Duration?) async throws(BlockStoreError) {
        guard let deadline else { return try await next.flush(scope) }
        let (next, timeline) = (next, timeline)
        let outcome = await withTaskGroup(of: Result<Void, BlockStoreError>?.self) { group in
            group.addTask {
                do throws(BlockStoreError) {
                    return .success(try await next.flush(scope))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                do {
                    try await timeline.sleep(until: deadline)
                } catch {
                    // The flush has ended, or the caller does not wait any more.
                }
                return nil
            }
            var outcome: Result<Void, BlockStoreError>?
            for await end in group {
                group.cancelAll()
                if let end { outcome = end }
            }
            return outcome
        }
        if case .failure(let error) = outcome {
            throw error.code == .cancelled && timeline.now >= deadline ? flushTimedOut : error
        }
    }

    private var flushTimedOut: BlockStoreError {
        BlockStoreError(
            .timedOut, "the store did not take the data within \(settings.flushTimeout ?? .zero) (--flushTimeout)")
    }

    private func flushed(_ number: UInt64) async -> FlushAnswer {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLock { $0.flushers.park(number, continuation) }?()
            }
        } onCancel: {
            let wakeup = state.withLock { state in
                state.machine.cancelFlush(number)
                return state.flushers.answer(number, .cancelled)
            }
            wakeup?()
        }
    }

    /// Brings everything to the store, whatever ``CacheSettings/flushMode`` says; for the end.
    ///
    /// From now on nothing is delayed, and no write and no zeroing is taken, those that wait for room included: there may be some
    /// when a mount was broken off, and whoever drains gives the volume away afterwards. Reads and flushes go on.
    ///
    /// On return nothing is unsaved, and nothing will be.
    ///
    /// - Throws: As ``flush(_:)``; may be called again, and takes nothing in between.
    public func drain() async throws(BlockStoreError) {
        let refused = state.withLock { state in
            state.closing = BlockStoreError(.io, "nothing is taken any more: the mount is at its end")
            state.machine.beginDraining()
            return admitWriters(&state)
        }
        for wakeup in refused { wakeup() }
        doorbell.ring()
        try await waitForTakers()
        try await flushToStore(.everything)
    }

    /// How long apart it is looked whether a write is still being copied, which takes microseconds, or an fdatasync(2).
    private static let takersPause = Duration.milliseconds(1)

    /// Waits until what was let in before the refusal is taken: a flush that began earlier would not wait for it.
    private func waitForTakers() async throws(BlockStoreError) {
        while state.withLock({ $0.isTaking }) {
            do {
                try await timeline.sleep(until: timeline.now + Self.takersPause)
            } catch {
                throw BlockStoreError(.cancelled, "cancelled while the last writes were copied", cause: error)
            }
        }
    }

    /// Commits the storage; what was released before may be used again.
    ///
    /// Over memory, or a file that is not trusted any more, there is nothing to commit.
    func commitStorage() async throws(BlockStoreError) {
        guard storage.isPersistent else { return }
        try await commitStorage(state.withLock { $0.machine.beginCommit() })
    }

    /// The commit `number`, which has begun.
    func commitStorage(_ number: UInt64) async throws(BlockStoreError) {
        var failure: BlockStoreError?
        if storage.isTrusted {
            do throws(BlockStoreError) {
                try await storage.commit()
            } catch {
                failure = error
            }
        }
        endCommit(number, succeeded: failure == nil)
        if let failure { throw failure }
    }

    private func endCommit(_ number: UInt64, succeeded: Bool) {
        let (wakeups, rings) = state.withLock { state in
            state.machine.endCommit(number, succeeded: succeeded)
            return (admitWriters(&state), state.machine.isRoomWanted)
        }
        for wakeup in wakeups { wakeup() }
        // Room that needs a commit which began later had to wait for this one to end.
        if rings { doorbell.ring() }
    }
}
