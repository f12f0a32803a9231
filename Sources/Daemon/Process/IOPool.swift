// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Glibc
internal import Synchronization

/// The threads on which everything runs that had to wait: a task executor of a fixed number of threads.
///
/// File I/O of the local store and hashing may block these threads; Swift's own pool has one thread per processor and must
/// not be blocked. Requests begin on the FUSE threads and come here after their first suspension.
///
/// **The queue** needs no limit of its own: a job is a task that is ready to go on, it stands in the queue at most once, and
/// how many tasks there are is bounded where they are made (requests by FUSE's max_background, blocks of a request by
/// `BlockDisk`'s fan-out, requests to the store by `LimitedObjectStore`).
///
/// **Two lanes**: jobs that only decide what comes next go before those that compute for long (``computing``). In one queue a
/// request that came while bodies are hashed would begin behind all of them, and with it the whole group of requests would stay
/// together, each time waiting for the processor together and then for the store together. Of each 16 jobs one computes, if there
/// is one.
///
/// - Concurrency: safe from anywhere.
public final class IOPool: TaskExecutor {
    // Proof for @unchecked: the queues, the count and `isStopping` are touched only under `lock`; the two pthread objects are made once, at
    // addresses that never move, and destroyed when no thread is left.
    private final class Shared: @unchecked Sendable {
        let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        let hasWork = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
        var queue = JobQueue()
        var computing = JobQueue()
        /// Jobs since the last one that computed.
        var sinceComputing = 0
        var isStopping = false

        init() {
            pthread_mutex_init(lock, nil)
            pthread_cond_init(hasWork, nil)
        }

        deinit {
            pthread_cond_destroy(hasWork)
            pthread_mutex_destroy(lock)
            hasWork.deallocate()
            lock.deallocate()
        }

        func put(_ job: UnownedJob, computes: Bool) {
            pthread_mutex_lock(lock)
            if computes { computing.append(job) } else { queue.append(job) }
            pthread_mutex_unlock(lock)
            pthread_cond_signal(hasWork)
        }

        /// Waits for a job; nil when the pool ends and nothing is left to do.
        func take() -> UnownedJob? {
            pthread_mutex_lock(lock)
            defer { pthread_mutex_unlock(lock) }
            while true {
                if let job = next() { return job }
                if isStopping { return nil }
                pthread_cond_wait(hasWork, lock)
            }
        }

        private func next() -> UnownedJob? {
            sinceComputing += 1
            if sinceComputing < IOPool.fairness, let job = queue.popFirst() { return job }
            sinceComputing = 0
            return computing.popFirst() ?? queue.popFirst()
        }

        func stop() {
            pthread_mutex_lock(lock)
            isStopping = true
            pthread_mutex_unlock(lock)
            pthread_cond_broadcast(hasWork)
        }
    }

    /// The other lane, on the same threads. Its jobs run as those of the pool: a task that has computed goes on at once, without
    /// lining up again.
    private final class Lane: TaskExecutor {
        private let shared: Shared

        init(_ shared: Shared) { self.shared = shared }

        func enqueue(_ job: consuming ExecutorJob) { shared.put(UnownedJob(job), computes: true) }
    }

    /// At least one of so many jobs computes, however many others there are.
    private static let fairness = 16

    private let shared: Shared
    /// For jobs that compute for tens of microseconds and more, as hashing a body; runs on the same threads, behind the others.
    public let computing: any TaskExecutor
    private let threads = Mutex<[JoinableThread]>([])

    /// Starts the threads.
    ///
    /// - Parameter threadCount: At least 1. More than processors: a thread that waits for a disk uses none.
    public init(threadCount: Int) {
        precondition(threadCount > 0, "a pool without threads runs nothing")
        let shared = Shared()
        self.shared = shared
        computing = Lane(shared)
        for index in 0..<threadCount {
            let thread = JoinableThread.required(name: "io-\(index)") { [unowned self] in
                let executor = self.asUnownedTaskExecutor()
                while let job = shared.take() { job.runSynchronously(on: executor) }
            }
            threads.withLock { $0.append(thread) }
        }
    }

    /// Takes a job; called by the runtime.
    public func enqueue(_ job: consuming ExecutorJob) { shared.put(UnownedJob(job), computes: false) }

    /// Runs what is queued, ends the threads and waits for them. Not to be called on one of them.
    ///
    /// The pool must outlive its threads, so this must have been called before the last reference goes.
    public func shutDown() {
        shared.stop()
        let joinable = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for thread in joinable { thread.join() }
    }
}

/// A queue of jobs in two arrays: no allocation per job once it has grown.
private struct JobQueue {
    private var incoming: [UnownedJob] = []
    private var outgoing: [UnownedJob] = []

    mutating func append(_ job: UnownedJob) { incoming.append(job) }

    mutating func popFirst() -> UnownedJob? {
        if outgoing.isEmpty {
            swap(&incoming, &outgoing)
            outgoing.reverse()
        }
        return outgoing.popLast()
    }
}
