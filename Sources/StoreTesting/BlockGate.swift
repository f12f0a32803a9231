// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
internal import Synchronization

/// Holds calls of a ``MemoryBlockStore`` until the test lets them go on: how a test puts events in the order it means.
///
/// Give `pass` as the hook of the store.
public final class BlockGate: Sendable {
    private struct Held {
        let call: BlockCall
        let continuation: CheckedContinuation<BlockStoreError?, Never>
    }
    private struct State {
        var holds: @Sendable (BlockCall) -> Bool
        var held: [Held] = []
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }
    private let state: Mutex<State>

    /// Makes a gate.
    ///
    /// - Parameter holds: Which calls are held, at which phase; all others pass.
    public init(holding holds: @escaping @Sendable (BlockCall) -> Bool) {
        state = Mutex(State(holds: holds))
    }

    /// The calls that are held, in the order in which they came.
    public var held: [BlockCall] { state.withLock { $0.held.map(\.call) } }

    /// The hook: returns when the call may go on, and throws what the test wants it to fail with.
    public func pass(_ call: BlockCall) async throws(BlockStoreError) {
        guard state.withLock({ $0.holds(call) }) else { return }
        let failure = await withCheckedContinuation { continuation in
            let reached = state.withLock { state in
                state.held.append(Held(call: call, continuation: continuation))
                let count = state.held.count
                let reached = state.watchers.filter { $0.count <= count }
                state.watchers.removeAll { $0.count <= count }
                return reached.map(\.continuation)
            }
            for watcher in reached { watcher.resume() }
        }
        if let failure { throw failure }
    }

    /// Returns when at least `count` calls are held at once.
    public func waitUntilHeld(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isReached = state.withLock { state in
                guard state.held.count < count else { return true }
                state.watchers.append((count, continuation))
                return false
            }
            if isReached { continuation.resume() }
        }
    }

    /// Lets the first held call that fits go on, or fail with `failure`.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    public func release(
        failing failure: BlockStoreError? = nil, where fits: (BlockCall) -> Bool = { _ in true }
    ) -> Bool {
        let released = state.withLock { state in
            state.held.firstIndex { fits($0.call) }.map { state.held.remove(at: $0) }
        }
        released?.continuation.resume(returning: failure)
        return released != nil
    }

    /// Lets everything go on, and holds nothing any more.
    public func open() {
        let released = state.withLock { state in
            state.holds = { _ in false }
            defer { state.held = [] }
            return state.held
        }
        for call in released { call.continuation.resume(returning: nil) }
    }
}
