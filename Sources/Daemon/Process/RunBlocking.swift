// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc
internal import Synchronization

/// Asynchronous work that a thread has started and can wait for: the one bridge from `main` into Swift's tasks.
struct BlockingTask<Value: Sendable>: Sendable {
    private let task: Task<Void, Never>
    private let box: ResultBox<Value>

    /// Starts the work.
    init(on pool: IOPool, _ work: @escaping @Sendable () async -> Value) {
        let box = ResultBox<Value>()
        self.box = box
        task = Task.detached(executorPreference: pool) { box.put(await work()) }
    }

    /// Cancels the work, which still has to end by itself.
    func cancel() { task.cancel() }

    /// Waits until the work has ended.
    ///
    /// - Concurrency: blocks the calling thread; never to be called on a thread of the pool.
    func wait() -> Value { box.take() }
}

/// Runs asynchronous work to its end, from a thread that may wait.
///
/// - Parameters:
///   - stopping: What a request to stop does meanwhile is to cancel the work.
/// - Concurrency: blocks the calling thread; never to be called on a thread of `pool`.
func runBlocking<Value: Sendable>(
    on pool: IOPool, stopping: StopSwitch, _ work: @escaping @Sendable () async -> Value
) -> Value {
    let task = BlockingTask(on: pool, work)
    stopping.connect { task.cancel() }
    defer { stopping.disconnect() }
    return task.wait()
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
