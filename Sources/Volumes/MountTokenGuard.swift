// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
public import DataPath
public import Logging
internal import ObjectStores
internal import Synchronization

/// Watches, while the volume is mounted, that its mount token is still ours, and stops every change once it is not.
///
/// ``DirectVolume`` asks before each request that changes a block, its own repairs included; that is why this is no layer of its
/// own: a layer above could not see the repairs that a flush makes, nor the attempts without an answer that were then retried.
/// ``ObjectStores/RetryingObjectStore`` asks before it sends such a change again.
/// The token is read again when the last look is older than a minute, or when a request has failed since; concurrent mutations
/// share the look. Reads are never stopped.
///
/// This narrows the window in which two mounts write, and cannot close it: a request already sent is not called back.
///
/// A token that is *gone* is as lost as one that is another's, and is not made again, not even with `If-None-Match: *`: whoever
/// removed it may have mounted, written and unmounted since, and what this mount remembers of the volume (its zeros, the blocks
/// it would mend) would then be put over newer data. It also is how `--reset-mounted-flag` says that this process counts as dead.
///
/// - Concurrency: safe from anywhere; the lock is not held over I/O.
/// - Source: Docs/Formats/Direct.md "Mount token".
public final class MountTokenGuard: Sendable {
    /// The token that must be found.
    public let token: MountToken

    private struct State {
        var machine: MountTokenGuardStateMachine
        var waiters: [CheckedContinuation<BlockStoreError?, Never>] = []
    }
    private let state: Mutex<State>
    private let object: MountTokenObject
    private let timeline: any Timeline
    private let logger: Logger

    /// Starts to watch a token that was just seen to be ours.
    public init(token: MountToken, in object: MountTokenObject, timeline: any Timeline, logger: Logger) {
        self.token = token
        self.object = object
        self.timeline = timeline
        self.logger = logger
        state = Mutex(State(machine: MountTokenGuardStateMachine(verifiedAt: timeline.now)))
    }

    /// Asks for leave to change the volume; reads the token when a look is due.
    ///
    /// - Throws: `.fenced` when the token is not ours any more; the failure of the look when it had no answer, in which case
    ///   nothing is known and the next mutation looks again.
    func permit(_ context: IOContext) async throws(BlockStoreError) {
        while true {
            switch state.withLock({ $0.machine.ask(now: timeline.now) }) {
            case .granted: return
            case .lost(let record): throw Self.fenced(record)
            case .check: if let failure = await check(context), failure.code != .fenced { throw failure }
            case .wait:
                // Whoever looked may have been cancelled; that is no reason for others to fail.
                if let failure = await outcomeOfCheck(), failure.code != .cancelled { throw failure }
            }
        }
    }

    /// Asks for leave to send a change again: an outage may have ended for others first, and the volume have been taken over
    /// since.
    ///
    /// - Parameter store: Where the token is read, once and without retries, unless somebody has looked since the failure.
    /// - Throws: `.fenced` when the token is not ours any more; the failure of the look.
    func permitRepeat(
        of mutation: RepeatedMutation, over store: any ObjectStore, _ context: IOContext
    ) async throws(ObjectStoreError) {
        let beganAt = timeline.now
        let failedAt = mutation.wasUnanswered ? mutation.failedAt : nil
        switch state.withLock({ $0.machine.askToRepeat(failedAt: failedAt, now: beganAt) }) {
        case .granted, .wait: return
        case .lost(let record): throw ObjectStoreError(.fenced, Self.fenced(record).message, outcomeIsUnknown: false)
        case .check: break
        }
        let record: MountTokenRecord?
        do {
            record = try await object.read(from: store, context)
        } catch {
            _ = state.withLock { $0.machine.endExtraLook(.unanswered, beganAt: beganAt) }
            throw error
        }
        let isOurs = record?.token == token
        if state.withLock({ $0.machine.endExtraLook(isOurs ? .ours : .foreign(record), beganAt: beganAt) }) { logLoss(record) }
        guard !isOurs else { return }
        throw ObjectStoreError(.fenced, Self.fenced(record).message, outcomeIsUnknown: false)
    }

    /// Fails once the token is known not to be ours; asks nobody.
    ///
    /// - Throws: `.fenced`.
    func failIfLost() throws(BlockStoreError) {
        if case .lost(let record)? = state.withLock({ $0.machine.loss }) { throw Self.fenced(record) }
    }

    /// Notes that a request failed or stayed without an answer; the next mutation looks first.
    func noteFailure() { state.withLock { $0.machine.noteFailure() } }

    private func check(_ context: IOContext) async -> BlockStoreError? {
        do {
            let record = try await object.read(context)
            guard record?.token != token else { return end(.ours, nil) }
            logLoss(record)
            return end(.foreign(record), Self.fenced(record))
        } catch {
            return end(.unanswered, BlockStoreError(error, doing: "look whether the mount token is still ours"))
        }
    }

    private func logLoss(_ record: MountTokenRecord?) {
        logger.error(
            "the volume is no longer ours: no more changes are written; unmount, and mount again when nobody else has it",
            metadata: [
                "ours": "\(token)", "found": "\(record.map { $0.token.description } ?? "none")",
                "host": "\(record?.host ?? "-")", "since": "\(record?.since ?? "-")",
            ])
    }

    private func end(_ finding: MountTokenGuardStateMachine.Finding, _ failure: BlockStoreError?) -> BlockStoreError? {
        let waiters = state.withLock { state in
            state.machine.endCheck(finding)
            let waiters = state.waiters
            state.waiters = []
            return waiters
        }
        for waiter in waiters { waiter.resume(returning: failure) }
        return failure
    }

    /// Waits for the look that is under way.
    private func outcomeOfCheck() async -> BlockStoreError? {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                guard state.machine.isChecking else { return true }
                state.waiters.append(continuation)
                return false
            }
            if isOver { continuation.resume(returning: nil) }
        }
    }

    private static func fenced(_ record: MountTokenRecord?) -> BlockStoreError {
        let holder = record.map { "it was taken over (\($0.summary))" } ?? "its mount token was removed"
        return BlockStoreError(.fenced, "cannot change the volume: \(holder); unmount, and mount again when nobody else has it")
    }
}
