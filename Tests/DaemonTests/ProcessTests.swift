// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import CLinux
import DataPath
import Synchronization
import Testing

@testable import Daemon

@Suite("Threads and signals of the process")
struct ProcessTests {
    /// A continuation that another thread resumes: what a miss looks like to the pool.
    private func hop() async {
        await withCheckedContinuation { continuation in
            let thread = JoinableThread.required(name: "hop") { continuation.resume() }
            _ = thread
        }
    }

    @Test("a process that holds keys may leave no core file")
    func coreFile() {
        let before = linux_get_dumpable()
        CoreFile.forbid()
        #expect(linux_get_dumpable() == 0)
        _ = linux_set_dumpable(before)
    }

    @Test("work runs on the pool's threads, also after it had to wait for another thread")
    func poolKeepsWork() {
        let pool = IOPool(threadCount: 2)
        defer { pool.shutDown() }
        let names = BlockingTask(on: pool) {
            let before = threadName()
            await hop()
            return [before, threadName()]
        }.wait()
        #expect(names.allSatisfy { $0.hasPrefix("io-") }, "\(names)")
    }

    @Test("shutting the pool down runs what is queued first")
    func poolDrains() {
        let pool = IOPool(threadCount: 1)
        let count = Mutex(0)
        let tasks = (0..<100).map { _ in BlockingTask(on: pool) { count.withLock { $0 += 1 } } }
        for task in tasks { task.wait() }
        pool.shutDown()
        #expect(count.withLock { $0 } == 100)
    }

    @Test("what computes runs behind what only decides, and yet in its turn")
    func lanes() {
        let pool = IOPool(threadCount: 1)
        defer { pool.shutDown() }
        let order = Mutex<[String]>([])
        let gate = Mutex(())
        let tasks = gate.withLock { _ in
            // The first job holds the only thread until all of the work stands in line.
            let holder = BlockingTask(on: pool) { gate.withLock { _ in } }
            let computing = (0..<2).map { number in
                BlockingTask(on: pool) {
                    await withTaskExecutorPreference(pool.computing) { order.withLock { $0.append("computes \(number)") } }
                }
            }
            let others = (0..<40).map { number in BlockingTask(on: pool) { order.withLock { $0.append("\(number)") } } }
            return [holder] + computing + others
        }
        for task in tasks { task.wait() }
        let places = order.withLock { order in order.indices.filter { order[$0].hasPrefix("computes") } }
        // Of the first sixteen jobs one held the thread, and two only stepped over to the other lane.
        #expect(places == [12, 28], "\(order.withLock { $0 })")
    }

    @Test("a body is hashed in the computing lane, and the task comes back to the pool")
    func hashingLane() {
        let pool = IOPool(threadCount: 1)
        defer { pool.shutDown() }
        let names = BlockingTask(on: pool) {
            let inside = await withTaskExecutorPreference(pool.computing) { threadName() }
            await hop()
            return [inside, threadName()]
        }.wait()
        #expect(names.allSatisfy { $0.hasPrefix("io-0") }, "\(names)")
    }

    @Test("a request to stop cancels the work that is connected")
    func stopCancels() {
        let pool = IOPool(threadCount: 1)
        defer { pool.shutDown() }
        let stopping = StopSwitch()
        let wasCancelled = runBlocking(on: pool, stopping: stopping) {
            stopping.request()
            // Whether the request came before or after the work was connected, only its cancellation ends this.
            do {
                try await SystemTimeline().sleep(until: SystemTimeline().now + .seconds(60))
                return false
            } catch {
                return true
            }
        }
        #expect(wasCancelled)
    }

    @Test("a request that comes while nothing is connected is kept for what is connected next, once")
    func stopIsKept() {
        let stopping = StopSwitch()
        let count = Mutex(0)
        stopping.request()
        stopping.connect { count.withLock { $0 += 1 } }
        #expect(count.withLock { $0 } == 1)
        stopping.disconnect()
        stopping.connect { count.withLock { $0 += 1 } }
        #expect(count.withLock { $0 } == 1)
        stopping.request()
        #expect(count.withLock { $0 } == 2)
    }

    @Test("a request that came too late for the start ends what comes next, when it is renewed")
    func stopIsRenewed() {
        let pool = IOPool(threadCount: 1)
        defer { pool.shutDown() }
        let stopping = StopSwitch()
        let count = Mutex(0)
        // Work that takes no notice.
        runBlocking(on: pool, stopping: stopping) {}
        stopping.renew()
        stopping.connect { count.withLock { $0 += 1 } }
        #expect(count.withLock { $0 } == 0, "nobody has asked")
        stopping.disconnect()
        stopping.request()
        runBlocking(on: pool, stopping: stopping) {}
        stopping.renew()
        stopping.connect { count.withLock { $0 += 1 } }
        #expect(count.withLock { $0 } == 1)
    }
}

/// The name of the calling thread, as ps(1) shows it.
private func threadName() -> String {
    guard case .success(let bytes) = readWholeFile(path: "/proc/thread-self/comm", bytesMax: 64) else { return "?" }
    return String(decoding: bytes, as: UTF8.self)
}
