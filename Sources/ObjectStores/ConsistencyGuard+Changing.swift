// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Synchronization

/// How the guard changes objects: waits, takes note, sends, and takes note of what became of it.
extension ConsistencyGuard {
    /// Changes objects, all of them to `version`.
    ///
    /// - Throws: What `request` throws; `.cancelled` and `.outOfMemory` when it was not sent.
    func change(
        _ keys: [ObjectKey], to version: ObjectVersion, _ request: () async throws(ObjectStoreError) -> Mutation
    ) async throws(ObjectStoreError) -> Mutation {
        state.withLock { $0.machine.claim(keys) }
        defer { state.withLock { $0.machine.release(keys) } }
        try await waitForPrevious(keys)
        try await begin(version, keys)
        do throws(ObjectStoreError) {
            let mutation = try await request()
            end(keys, .succeeded(Self.stored(version, mutation.eTag), isSettled: mutation.isSettled))
            return mutation
        } catch {
            // Of several objects any may be gone, even if the answer to the last request is known.
            let isUnknown = error.outcomeIsUnknown || keys.count > 1
            end(keys, isUnknown ? .unanswered(Self.stored(version, nil)) : .failed)
            throw error
        }
    }

    /// What is kept of a version when its change has ended: no bytes.
    private static func stored(_ version: ObjectVersion, _ eTag: ETag?) -> ObjectVersion {
        if case .body(let body) = version { .written(body, eTag) } else { version }
    }

    private func end(_ keys: [ObjectKey], _ ending: ConsistencyStateMachine.Ending) {
        let now = timeline.now
        state.withLock { $0.machine.end(keys, ending, now: now) }
    }

    /// Waits until the last change of each of `keys` is `minWriteDelay` old.
    private func waitForPrevious(_ keys: [ObjectKey]) async throws(ObjectStoreError) {
        let now = timeline.now
        guard let due = state.withLock({ $0.machine.dueTime(of: keys, now: now) }) else { return }
        try await sleep(until: due, keys, countedIn: \.writeDelays)
    }

    /// Waits for room in the table, and takes it.
    private func begin(_ version: ObjectVersion, _ keys: [ObjectKey]) async throws(ObjectStoreError) {
        let ticket = state.withLock { $0.machine.newNumber() }
        defer { leaveQueue(ticket) }
        while true {
            let now = timeline.now
            switch state.withLock({ $0.machine.begin(version, of: keys, ticket: ticket, now: now) }) {
            case .begun: return
            case .full(let moment): try await sleep(until: moment, keys, countedIn: \.fullDelays)
            case .afterOthers:
                try await park(ticket, keys)
                let waited = timeline.now - now
                state.withLock { $0.statistics.fullDelays += waited }
            case .fullForEver:
                throw ObjectStoreError(
                    .outOfMemory,
                    "cannot change object \"\(keys[0])\": the table of objects whose versions are remembered is full, and they are "
                        + "remembered for ever; set --md5CacheSize to the number of blocks, or --md5CacheTime",
                    outcomeIsUnknown: false)
            }
        }
    }

    private func sleep(
        until deadline: Duration, _ keys: [ObjectKey], countedIn counter: WritableKeyPath<ConsistencyStatistics, Duration>
    ) async throws(ObjectStoreError) {
        let began = timeline.now
        defer {
            let waited = timeline.now - began
            state.withLock { $0.statistics[keyPath: counter] += waited }
        }
        do {
            try await timeline.sleep(until: deadline)
        } catch {
            throw cancelled(keys, error)
        }
    }

    private func cancelled(_ keys: [ObjectKey], _ cause: any Error) -> ObjectStoreError {
        ObjectStoreError(
            .cancelled, "cannot change object \"\(keys[0])\": cancelled before it was sent", outcomeIsUnknown: false, cause: cause
        )
    }

    // MARK: The queue for room

    /// Suspends the caller until it is the first of those who wait.
    private func park(_ ticket: UInt64, _ keys: [ObjectKey]) async throws(ObjectStoreError) {
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { self.park(ticket, $0) }
            } onCancel: {
                self.state.withLock { $0.parked.removeValue(forKey: ticket) }?.resume(throwing: CancellationError())
            }
        } catch {
            throw cancelled(keys, error)
        }
    }

    private func park(_ ticket: UInt64, _ continuation: CheckedContinuation<Void, any Error>) {
        enum Outcome { case parked, isFirst, isCancelled }
        let outcome: Outcome = state.withLock { state in
            // A cancellation handler that found no continuation has run after this flag was set; so nobody is lost.
            if Task.isCancelled { return .isCancelled }
            if state.machine.firstWaiting == ticket { return .isFirst }
            state.parked[ticket] = continuation
            return .parked
        }
        switch outcome {
        case .parked: break
        case .isFirst: continuation.resume()
        case .isCancelled: continuation.resume(throwing: CancellationError())
        }
    }

    /// Lets the next of those who wait try, the caller having begun or given up.
    private func leaveQueue(_ ticket: UInt64) {
        let next = state.withLock { state in
            state.machine.stopWaiting(ticket)
            return state.machine.firstWaiting.flatMap { state.parked.removeValue(forKey: $0) }
        }
        next?.resume()
    }
}
