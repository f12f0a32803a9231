// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc
internal import Synchronization

/// Runs asynchronous work from a thread that may wait: the one bridge from `main` into Swift's tasks.
///
/// - Parameters:
///   - pool: Where the work runs.
///   - stopping: What a signal does meanwhile is to cancel the work.
///   - work: What is to be done.
/// - Returns: What `work` returned.
/// - Concurrency: blocks the calling thread until `work` has ended; never to be called on a thread of `pool`.
func runBlocking<Value: Sendable>(
    on pool: IOPool, stopping: StopSwitch, _ work: @escaping @Sendable () async -> Value
) -> Value {
    let box = ResultBox<Value>()
    let task = Task.detached(executorPreference: pool) { box.put(await work()) }
    stopping.connect { task.cancel() }
    defer { stopping.disconnect() }
    return box.take()
}

/// A place for one value that a thread can wait for.
private final class ResultBox<Value: Sendable>: @unchecked Sendable {
    // Proof for @unchecked: `value` is touched only under `lock`; the pthread objects never move.
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let hasValue = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var value: Value?

    init() {
        pthread_mutex_init(lock, nil)
        pthread_cond_init(hasValue, nil)
    }

    deinit {
        pthread_cond_destroy(hasValue)
        pthread_mutex_destroy(lock)
        hasValue.deallocate()
        lock.deallocate()
    }

    func put(_ value: Value) {
        pthread_mutex_lock(lock)
        self.value = value
        pthread_cond_signal(hasValue)
        pthread_mutex_unlock(lock)
    }

    func take() -> Value {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while true {
            if let value { return value }
            pthread_cond_wait(hasValue, lock)
        }
    }
}
