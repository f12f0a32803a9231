// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Synchronization

/// Sees to it that block 0 has an object before anything else of the volume is changed, and that only one task makes it.
///
///     unknown  -- the first to enter places it -->  placing  -- done -->  present (for ever: block 0 is never deleted)
///        ^                                             |
///        +------------------ failed -------------------+   (whoever waited shares the failure)
///
/// - Concurrency: safe from anywhere; the lock is not held over I/O.
final class FirstBlockGate: Sendable {
    /// What somebody who entered finds.
    enum Entry: Sendable {
        /// Block 0 has an object.
        case present
        /// It may have none. The caller must see to it and then call ``leave(_:)``, whatever happens.
        case mine
        /// Somebody else tried meanwhile, and could not.
        case failed(BlockStoreError)
    }

    private enum State {
        case unknown
        case placing([CheckedContinuation<Entry, Never>])
        case present
    }
    private let state: Mutex<State>

    init(isPresent: Bool) { state = Mutex(isPresent ? .present : .unknown) }

    /// Asks whether block 0 has an object; waits while somebody is making it.
    func enter() async -> Entry {
        await withCheckedContinuation { continuation in
            let entry: Entry? = state.withLock { state in
                switch state {
                case .present: return .present
                case .unknown:
                    state = .placing([])
                    return .mine
                case .placing(let waiters):
                    state = .placing(waiters + [continuation])
                    return nil
                }
            }
            if let entry { continuation.resume(returning: entry) }
        }
    }

    /// Ends the turn of whoever got ``Entry/mine``.
    ///
    /// - Parameter failure: Why block 0 may still have no object; nil when it has one.
    func leave(_ failure: BlockStoreError?) {
        let waiters: [CheckedContinuation<Entry, Never>] = state.withLock { state in
            guard case .placing(let waiters) = state else { preconditionFailure("only whoever entered leaves") }
            state = failure == nil ? .present : .unknown
            return waiters
        }
        for waiter in waiters { waiter.resume(returning: failure.map { .failed($0) } ?? .present) }
    }
}
