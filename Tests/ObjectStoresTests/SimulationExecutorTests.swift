// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@Suite("SimulationExecutor")
struct SimulationExecutorTests {
    private final class Trace: Sendable {
        private let lines = Mutex<[String]>([])
        func add(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    private func trace(seed: UInt64) throws -> [String] {
        let timeline = ManualTimeline()
        let trace = Trace()
        try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 10_000) {
            await withTaskGroup { group in
                for worker in 0..<5 {
                    group.addTask {
                        for step in 0..<5 {
                            try? await timeline.sleep(until: timeline.now + .seconds(step % 2))
                            trace.add("\(worker).\(step) at \(timeline.now)")
                        }
                    }
                }
            }
        }
        return trace.all
    }

    @Test("the same seed gives the same order of events, another seed another one")
    func isDeterministic() throws {
        let first = try trace(seed: 7)
        #expect(first.count == 25)
        #expect(try trace(seed: 7) == first)
        #expect(try trace(seed: 8) != first)
    }

    @Test("minutes of waiting pass without waiting")
    func movesTheClock() throws {
        let timeline = ManualTimeline()
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 100) {
            try await timeline.sleep(until: .seconds(600))
        }
        #expect(timeline.now == .seconds(600))
    }

    @Test("a deadlock is reported instead of hanging")
    func findsDeadlocks() throws {
        #expect(throws: SimulationFailure.self) {
            try SimulationExecutor(seed: 1).run(on: ManualTimeline(), stepsMax: 100) {
                await withTaskCancellationHandler {
                    let (stream, continuation) = AsyncStream<Int>.makeStream()
                    for await _ in stream {}
                    continuation.finish()
                } onCancel: {
                }
            }
        }
    }

    @Test("a faulty store behaves the same from the same seed, and delivers late mutations over newer ones")
    func faultyStoreIsDeterministic() throws {
        func outcome(seed: UInt64) throws -> [String] {
            let timeline = ManualTimeline()
            let memory = MemoryObjectStore()
            var plan = ObjectFaultPlan.rough
            plan.lateArrival = 0.2
            let store = FaultyObjectStore(over: memory, plan: plan, seed: seed, timeline: timeline)
            return try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 100_000) {
                var lines: [String] = []
                for round in 0..<200 {
                    let key = ObjectKey("key\(round % 3)")
                    let body = BufferSlice(Buffer(copying: [UInt8(round)]))
                    do {
                        let mutation = try await store.put(key, body, ObjectMetadata(), .none, .foreground)
                        let eTag = mutation.eTag
                        guard case .present(let now) = try await memory.head(key, .foreground) else { continue }
                        lines.append(now.eTag == eTag ? "ok" : "undone")
                    } catch {
                        lines.append("\(error)")
                    }
                }
                return lines
            }
        }
        let first = try outcome(seed: 3)
        #expect(first.contains("undone"))
        #expect(first.contains { $0.contains("timeout") })
        #expect(try outcome(seed: 3) == first)
    }
}
