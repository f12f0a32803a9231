// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import Glibc

/// A state with a lock, and threads that wait for it to change; what a condition variable is for.
///
/// For threads that belong to libfuse or to the session, never for tasks: a wait blocks the thread.
final class Monitor<State: Sendable>: @unchecked Sendable {
    // Proof for @unchecked: `state` is only touched between lock and unlock of `mutex`; the pointers are constants, and what
    // they point to is made for sharing.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    /// Makes a monitor of `state`.
    init(_ state: State) {
        self.state = state
        var attributes = pthread_condattr_t()
        var status = pthread_mutex_init(mutex, nil)
        precondition(status == 0, "pthread_mutex_init")
        status = pthread_condattr_init(&attributes)
        precondition(status == 0, "pthread_condattr_init")
        // The calendar may be set; a pause must not change with it.
        status = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        precondition(status == 0, "pthread_condattr_setclock")
        status = pthread_cond_init(changed, &attributes)
        precondition(status == 0, "pthread_cond_init")
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Calls `body` with the state, then wakes those who wait. `body` must not block.
    func withLock<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        let result = body(&state)
        pthread_cond_broadcast(changed)
        return result
    }

    /// Blocks the thread until `body` returns something.
    ///
    /// - Parameters:
    ///   - deadline: Tells, for the state at hand, when to look again although nothing changed, on CLOCK_MONOTONIC; nil for
    ///     never.
    ///   - body: Called at once, after each change and at each deadline; must not block.
    func wait<Result>(lookingAgainAt deadline: (State) -> Duration?, _ body: (inout State) -> Result?) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            guard let deadline = deadline(state) else {
                pthread_cond_wait(changed, mutex)
                continue
            }
            let (seconds, attoseconds) = deadline.components
            var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
            pthread_cond_timedwait(changed, mutex, &time)
        }
    }
}
