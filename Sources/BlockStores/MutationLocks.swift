// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// One lock for each block that is being changed: what makes mutations of one block strictly serial.
///
/// First come, first served for each block; a set of blocks is claimed as one, and nobody can wait in a circle
/// (``MutationLocks/StateMachine`` says why). At most one entry is held for each caller.
///
/// - Concurrency: safe from anywhere. The lock inside is never held over a suspension.
final class MutationLocks: Sendable {
    /// What a caller wants to change.
    enum Claim: Sendable {
        /// One block; the common case, which needs no set.
        case block(BlockNumber)
        /// Several blocks at once.
        case blocks(BlockSet)
    }

    private struct State {
        var machine = StateMachine()
        /// Of the claims that wait: true is sent when the claim is granted, false when its task was cancelled.
        var waiters: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    }
    private let state = Mutex(State())

    /// Whether nobody holds or awaits a lock.
    var isIdle: Bool { state.withLock { $0.machine.isIdle && $0.waiters.isEmpty } }

    /// Waits until the caller alone may change what it claims. It must call ``release(_:_:)`` afterwards.
    ///
    /// - Returns: The ticket to give back.
    /// - Throws: `.cancelled` when the task is cancelled while it waits; then nothing is held.
    func acquire(_ claim: Claim) async throws(BlockStoreError) -> UInt64 {
        let (ticket, isGranted) = state.withLock { $0.machine.enter(claim) }
        guard !isGranted else { return ticket }
        let isOurs = await withTaskCancellationHandler {
            await withCheckedContinuation { wait(claim, ticket, $0) }
        } onCancel: {
            giveUp(claim, ticket)
        }
        guard isOurs else {
            throw BlockStoreError(.cancelled, "cannot change \(claim): cancelled while another change of it was running")
        }
        return ticket
    }

    /// Ends the claim and lets those who waited for it go on.
    func release(_ claim: Claim, _ ticket: UInt64) {
        let granted = state.withLock { state in
            state.machine.leave(claim, ticket).compactMap { state.waiters.removeValue(forKey: $0) }
        }
        for waiter in granted { waiter.resume(returning: true) }
    }

    /// Leaves the continuation to whoever grants or cancels the claim, unless that has happened since it was made.
    private func wait(_ claim: Claim, _ ticket: UInt64, _ waiter: CheckedContinuation<Bool, Never>) {
        let answer: Bool? = state.withLock { state in
            switch state.machine.isGranted(claim, ticket) {
            case true?: return true
            case nil: return false
            case false?:
                state.waiters[ticket] = waiter
                return nil
            }
        }
        if let answer { waiter.resume(returning: answer) }
    }

    /// Takes a claim back that still waits. One that has been granted stays so: its owner goes on and releases it.
    private func giveUp(_ claim: Claim, _ ticket: UInt64) {
        let (waiter, granted) = state.withLock { state in
            guard state.machine.isGranted(claim, ticket) == false else {
                return (CheckedContinuation<Bool, Never>?.none, [CheckedContinuation<Bool, Never>]())
            }
            let waiter = state.waiters.removeValue(forKey: ticket)
            return (waiter, state.machine.leave(claim, ticket).compactMap { state.waiters.removeValue(forKey: $0) })
        }
        waiter?.resume(returning: false)
        for other in granted { other.resume(returning: true) }
    }
}

extension MutationLocks.Claim: CustomStringConvertible {
    /// The blocks, for error messages.
    var description: String {
        switch self {
        case .block(let block): "block \(block)"
        case .blocks(let blocks): "\(blocks.blockCount) blocks"
        }
    }
}
