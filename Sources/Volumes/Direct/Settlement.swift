// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores
internal import Synchronization

/// The watch over blocks that a late attempt may still change: ``SettlementStateMachine`` with a lock, waiting included.
///
/// - Concurrency: safe from anywhere. The lock is never held over I/O; waiting ends when whoever has the block in hand ends.
final class Settlement: Sendable {
    typealias Expectation = SettlementStateMachine.Expectation
    typealias Claim = SettlementStateMachine.Claim

    private struct State {
        var machine: SettlementStateMachine
        var waiters: [CheckedContinuation<Void, Never>] = []
        /// Counts the ends of mutations and confirmations, so that none is missed between a look and a wait.
        var endCount: UInt64 = 0
    }
    private let state: Mutex<State>
    private let timeline: any Timeline

    init(limits: SettlementLimits, timeline: any Timeline) {
        state = Mutex(State(machine: SettlementStateMachine(limits: limits)))
        self.timeline = timeline
    }

    /// See ``SettlementStateMachine/expected(of:)``.
    func expected(of block: BlockNumber) -> Expectation? { state.withLock { $0.machine.expected(of: block) } }

    /// The blocks whose objects a late attempt may still change, or has changed and nobody has looked since.
    var watchedBlocks: Set<BlockNumber> { state.withLock { Set($0.machine.entries.keys) } }

    /// How long after its end an unanswered attempt may still change an object.
    var window: Duration { state.withLock { $0.machine.limits.window } }

    /// See ``SettlementStateMachine/unsettledCount(now:)``.
    var unsettledCount: Int { state.withLock { $0.machine.unsettledCount(now: timeline.now) } }

    /// Begins a mutation; waits while one of `blocks` is being confirmed.
    func beginMutation(of blocks: [BlockNumber]) async {
        while true {
            let (hasBegun, seen) = state.withLock { ($0.machine.beginMutation(of: blocks), $0.endCount) }
            if hasBegun { return }
            await waitForEnd(after: seen)
        }
    }

    /// Ends a mutation that succeeded; see ``SettlementStateMachine/endMutation(of:_:isSettled:beganAt:now:)``.
    func endMutation(
        of blocks: [BlockNumber], to contents: BlockContents, _ mutation: Mutation, beganAt: Duration
    ) -> SettlementStateMachine.Verdict {
        end { machine in
            machine.endMutation(
                of: blocks, Expectation(contents: contents, eTag: mutation.eTag), isSettled: mutation.isSettled,
                beganAt: beganAt, now: timeline.now)
        }
    }

    /// Ends a mutation that threw.
    func failMutation(of blocks: [BlockNumber], isUnknown: Bool) {
        end {
            $0.failMutation(of: blocks, isUnknown: isUnknown, now: timeline.now)
        }
    }

    /// Ends the confirmation of blocks for which there was no room.
    func endLoneConfirmation(of blocks: [BlockNumber], isConfirmed: Bool) {
        end { $0.endLoneConfirmation(of: blocks, isConfirmed: isConfirmed, now: timeline.now) }
    }

    /// See ``SettlementStateMachine/pending(in:)``.
    func pending(in scope: FlushScope) -> [BlockNumber] { state.withLock { $0.machine.pending(in: scope) } }

    /// See ``SettlementStateMachine/overdue(now:)``.
    func overdue() -> [BlockNumber] { state.withLock { $0.machine.overdue(now: timeline.now) } }

    /// See ``SettlementStateMachine/lastHazardEnd(now:)``.
    var lastHazardEnd: Duration? { state.withLock { $0.machine.lastHazardEnd(now: timeline.now) } }

    /// Takes some of `pending` for confirmation; waits while others have all of them in hand.
    ///
    /// - Returns: What was taken; empty when nothing of `pending` needs care any more. `pending` is what remains.
    func claim(_ pending: inout [BlockNumber]) async -> [Claim] {
        while true {
            let (claims, seen) = state.withLock { ($0.machine.claim(&pending), $0.endCount) }
            if !claims.isEmpty || pending.isEmpty { return claims }
            await waitForEnd(after: seen)
        }
    }

    /// Ends the confirmation of claimed blocks.
    func endConfirmation(of blocks: [BlockNumber], _ outcome: SettlementStateMachine.Confirmation, beganAt: Duration) {
        end { machine in
            for block in blocks {
                machine.endConfirmation(of: block, outcome, beganAt: beganAt, now: timeline.now)
            }
        }
    }

    private func end<Result: Sendable>(_ change: (inout SettlementStateMachine) -> Result) -> Result {
        let (result, waiters) = state.withLock { state in
            let result = change(&state.machine)
            state.endCount += 1
            let waiters = state.waiters
            state.waiters = []
            return (result, waiters)
        }
        for waiter in waiters { waiter.resume() }
        return result
    }

    private func waitForEnd(after seen: UInt64) async {
        await withCheckedContinuation { continuation in
            let isLate = state.withLock { state in
                guard state.endCount == seen else { return true }
                state.waiters.append(continuation)
                return false
            }
            if isLate { continuation.resume() }
        }
    }
}
