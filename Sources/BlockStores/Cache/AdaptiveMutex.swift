// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// A state with a lock for holds of less than a microsecond by several threads at once.
///
/// `Synchronization.Mutex` gives the lock of a holder for whom others wait to the first of them, who has to wake up before anybody
/// goes on. Where each request takes the lock twice, all threads soon stand in that line, and every turn of it costs a wake-up. This
/// lock stays free until somebody takes it, and who finds it taken looks again for a moment before sleeping.
///
/// - Concurrency: as `Synchronization.Mutex`: not recursive, and nobody is served in order.
/// - Source: pthread_mutex_lock(3), PTHREAD_MUTEX_ADAPTIVE_NP.
struct AdaptiveMutex<Value>: ~Copyable, @unchecked Sendable {
    // Proof for @unchecked: `value` is touched between lock and unlock of `mutex` only, and taken in as a sending value; the
    // pointers are constants, and what `mutex` points to is made for sharing.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    /// Guards `value` from now on.
    init(_ value: consuming sending Value) {
        self.value.initialize(to: value)
        var attributes = pthread_mutexattr_t()
        var status = pthread_mutexattr_init(&attributes)
        precondition(status == 0, "pthread_mutexattr_init")
        status = pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_ADAPTIVE_NP))
        precondition(status == 0, "pthread_mutexattr_settype")
        status = pthread_mutex_init(mutex, &attributes)
        precondition(status == 0, "pthread_mutex_init")
        pthread_mutexattr_destroy(&attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        value.deinitialize(count: 1)
        value.deallocate()
    }

    /// Calls `body` with the state while no other call does; it must neither wait nor take long.
    borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value.pointee)
    }
}
