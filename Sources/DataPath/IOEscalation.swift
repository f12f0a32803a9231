// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// Raises a request of the background that is under way to the foreground, once and for good: a system call has joined it.
///
/// Whoever owns the request makes one, hands it down in an ``IOContext``, and calls ``raise()``. Layers that ask for the priority
/// afterwards see the foreground; a layer in which the request waits at that moment has asked to be told.
///
/// - Concurrency: safe from anywhere. Nobody is called under the lock.
public final class IOEscalation: Sendable {
    /// Names somebody who is to be told.
    public struct Registration: Sendable {
        fileprivate let number: UInt64
    }
    private struct State {
        var listeners: [UInt64: @Sendable () -> Void] = [:]
        var count: UInt64 = 0
    }
    private let raised = Atomic(false)
    private let state = Mutex(State())

    /// Begins in the background.
    public init() {}

    /// Whether somebody waits by now.
    public var isRaised: Bool { raised.load(ordering: .acquiring) }

    /// Says that somebody waits from now on; any call but the first does nothing.
    public func raise() {
        let listeners = state.withLock { state in
            // Under the lock, so that whoever registers either is told or sees that it is too late.
            raised.store(true, ordering: .releasing)
            defer { state.listeners = [:] }
            return state.listeners.values.map(\.self)
        }
        for listener in listeners { listener() }
    }

    /// Asks to be told, once, when the request is raised.
    ///
    /// - Parameter listener: Runs on the thread that raises; takes no long time.
    /// - Returns: What ends it; nil when the request was raised already: then `listener` is not called.
    public func whenRaised(_ listener: @escaping @Sendable () -> Void) -> Registration? {
        state.withLock { state in
            guard !isRaised else { return nil }
            state.count += 1
            state.listeners[state.count] = listener
            return Registration(number: state.count)
        }
    }

    /// Ends a registration; the listener may still be running when this returns.
    public func remove(_ registration: Registration) {
        state.withLock { _ = $0.listeners.removeValue(forKey: registration.number) }
    }
}
