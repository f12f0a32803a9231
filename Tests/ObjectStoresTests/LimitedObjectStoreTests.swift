// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@Suite("LimitedObjectStore")
struct LimitedObjectStoreTests {
    /// Every request takes 10 s; counts how many there are at once.
    private final class SlowStore: Sendable {
        private let counts = Mutex((now: 0, most: 0, started: [String]()))
        let timeline = ManualTimeline()

        var most: Int { counts.withLock { $0.most } }
        var started: [String] { counts.withLock { $0.started } }

        func request(_ name: String) async throws(ObjectStoreError) {
            counts.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
                $0.started.append(name)
            }
            defer { counts.withLock { $0.now -= 1 } }
            do {
                try await timeline.sleep(until: timeline.now + .seconds(10))
            } catch {
                throw ObjectStoreError(.cancelled, "cancelled", outcomeIsUnknown: false, cause: error)
            }
        }
    }

    private func limited(_ slow: SlowStore, _ requestsMax: Int, reserve: Int) -> LimitedObjectStore {
        let scripted = ScriptedStore(
            Array(repeating: .first { _ async throws(ObjectStoreError) in try await slow.request("") }, count: 1000))
        return LimitedObjectStore(
            over: scripted, limits: RequestLimits(requestsMax: requestsMax, foregroundReserve: reserve), logger: silent)
    }

    @Test("no more requests are in flight than the limit, and all are done", arguments: UInt64(0)..<10)
    func bounds(seed: UInt64) throws {
        let slow = SlowStore()
        let store = limited(slow, 3, reserve: 1)
        try SimulationExecutor(seed: seed).run(on: slow.timeline, stepsMax: 100_000) {
            try await withThrowingTaskGroup { group in
                for index in 0..<30 {
                    group.addTask {
                        _ = try await store.head(ObjectKey("\(index)"), index % 2 == 0 ? .foreground : .background)
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(slow.most == 3, "seed \(seed)")
        #expect(slow.started.count == 30)
        // The background, left alone at the end, has two of the three lanes.
        #expect(slow.timeline.now <= .seconds(120))
        #expect(store.statistics.inFlight == 0 && store.statistics.waiting == 0)
    }

    @Test("a foreground request is sent at once although uploads queue")
    func prefersForeground() throws {
        let slow = SlowStore()
        let store = limited(slow, 4, reserve: 1)
        let finished = try SimulationExecutor(seed: 1).run(on: slow.timeline, stepsMax: 100_000) {
            try await withThrowingTaskGroup(of: Duration?.self) { group in
                for index in 0..<50 {
                    group.addTask {
                        _ = try await store.put(ObjectKey("\(index)"), body("x"), ObjectMetadata(), .none, .background)
                        return nil
                    }
                }
                group.addTask {
                    try await slow.timeline.sleep(until: .seconds(5))
                    _ = try await store.head(ObjectKey("read"), .foreground)
                    return slow.timeline.now
                }
                return try await group.reduce(Duration.zero) { $1 ?? $0 }
            }
        }
        #expect(finished == .seconds(15))
    }

    @Test("a request of the background that is raised is sent at once although uploads queue", arguments: UInt64(0)..<20)
    func raises(seed: UInt64) throws {
        let slow = SlowStore()
        let store = limited(slow, 4, reserve: 1)
        let escalation = IOEscalation()
        let finished = try SimulationExecutor(seed: seed).run(on: slow.timeline, stepsMax: 100_000) {
            try await withThrowingTaskGroup(of: Duration?.self) { group in
                for index in 0..<20 {
                    group.addTask {
                        _ = try await store.put(ObjectKey("\(index)"), body("x"), ObjectMetadata(), .none, .background)
                        return nil
                    }
                }
                group.addTask {
                    try await slow.timeline.sleep(until: .seconds(1))
                    _ = try await store.head(ObjectKey("ahead"), IOContext(escalation: escalation))
                    return slow.timeline.now
                }
                // Before it comes, while it waits, or just when it enters.
                try await slow.timeline.sleep(until: .seconds(Int(seed % 3)))
                escalation.raise()
                return try await group.reduce(Duration.zero) { $1 ?? $0 }
            }
        }
        #expect(finished == .seconds(seed % 3 == 2 ? 12 : 11), "seed \(seed)")
    }

    @Test("a caller that is cancelled leaves the queue, and nothing is sent for it", arguments: UInt64(0)..<20)
    func cancels(seed: UInt64) throws {
        let slow = SlowStore()
        let store = limited(slow, 1, reserve: 0)
        let codes = try SimulationExecutor(seed: seed).run(on: slow.timeline, stepsMax: 100_000) {
            await withTaskGroup(of: ObjectStoreError.Code?.self) { group in
                for index in 0..<5 {
                    group.addTask {
                        do throws(ObjectStoreError) {
                            _ = try await store.head(ObjectKey("\(index)"), .foreground)
                            return nil
                        } catch {
                            return error.code
                        }
                    }
                }
                try? await slow.timeline.sleep(until: .seconds(1 + Int(seed % 3)))
                group.cancelAll()
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
        #expect(codes == Array(repeating: .cancelled, count: 5), "seed \(seed)")
        #expect(slow.started.count == 1)
        #expect(store.statistics.inFlight == 0 && store.statistics.waiting == 0, "seed \(seed)")
    }

    @Test("a caller that was cancelled before it came does not wait")
    func refusesCancelled() throws {
        let slow = SlowStore()
        let store = limited(slow, 1, reserve: 0)
        let left = try SimulationExecutor(seed: 1).run(on: slow.timeline, stepsMax: 1000) {
            async let holder = store.head(ObjectKey("holder"), .foreground)
            try await slow.timeline.sleep(until: .seconds(1))
            let left = await withTaskGroup(of: Duration?.self) { group in
                group.cancelAll()
                group.addTask {
                    do throws(ObjectStoreError) {
                        _ = try await store.head(ObjectKey("late"), .foreground)
                        return nil
                    } catch {
                        return slow.timeline.now
                    }
                }
                return await group.next() ?? nil
            }
            _ = try await holder
            return left
        }
        #expect(left == .seconds(1))
        #expect(slow.started.count == 1)
    }

    @Test("timeouts and SlowDown halve the limit, other failures do not")
    func adapts() async throws {
        let scripted = ScriptedStore([
            .fail(failure(.serverError)), .fail(failure(.timedOut)), .fail(failure(.slowDown)), .fail(failure(.forbidden)),
        ])
        let limits = RequestLimits(requestsMax: 16, foregroundReserve: 2)
        let store = LimitedObjectStore(over: scripted, limits: limits, logger: silent)
        var seen: [Int] = []
        for _ in 0..<4 {
            await #expect(throws: ObjectStoreError.self) { try await store.head(ObjectKey("k"), .foreground) }
            seen.append(store.statistics.limit)
        }
        #expect(seen == [16, 8, 4, 4])
        #expect(store.statistics.halvings == 2)
    }
}
