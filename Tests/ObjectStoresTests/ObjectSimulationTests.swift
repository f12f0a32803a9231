// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Testing

/// The layers of the object waist over a store that fails, from a seed.
@Suite("Object stack simulation")
struct ObjectSimulationTests {
    @Test(
        "through every fault, a mutation that returned is what is read next, unless it said that it is not settled",
        arguments: UInt64(0)..<40)
    func keepsWhatReturned(seed: UInt64) throws {
        let timeline = ManualTimeline()
        let memory = MemoryObjectStore()
        let faulty = FaultyObjectStore(over: memory, plan: .rough, seed: seed, timeline: timeline)
        let limited = LimitedObjectStore(
            over: CheckedObjectStore(over: faulty, logger: silent),
            limits: RequestLimits(requestsMax: 4, foregroundReserve: 1), logger: silent)
        let stack = RetryingObjectStore(
            over: limited, policy: RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: .seconds(30)), isSigned: true,
            timeline: timeline, jitter: { 0 }, logger: silent)
        try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 1_000_000) {
            await withTaskGroup { group in
                for worker in 0..<6 {
                    group.addTask { await Self.work(stack, ObjectKey("w\(worker)"), seed &* 31 &+ UInt64(worker)) }
                }
            }
        }
        #expect(faulty.faultCount > 0, "seed \(seed)")
        #expect(limited.statistics.inFlight == 0 && limited.statistics.waiting == 0, "seed \(seed)")
    }

    /// One client of one key: writes, deletes and reads, and knows what may be there.
    private static func work(_ store: any ObjectStore, _ key: ObjectKey, _ seed: UInt64) async {
        var generator = SeededGenerator(seed: seed)
        /// What may be read: nil is "absent". After something that was not settled, everything since: it may return any time.
        var possible: Set<String?> = [nil]
        var isSettled = true
        for step in 0..<30 {
            let priority: IOContext = generator.chance(0.5) ? .foreground : .background
            let text: String? = generator.chance(0.2) ? nil : "\(seed).\(step)"
            do throws(ObjectStoreError) {
                let mutation: Mutation
                if let text {
                    mutation = try await store.put(key, body(text), ObjectMetadata(), .none, priority)
                } else {
                    mutation = try await store.delete([key], priority)
                }
                isSettled = isSettled && mutation.isSettled
                possible = isSettled ? [text] : possible.union([text])
            } catch {
                isSettled = isSettled && !error.outcomeIsUnknown
                if error.outcomeIsUnknown { possible.insert(text) }
            }
            do throws(ObjectStoreError) {
                let read = try await store.get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, priority)
                var found: String?
                if case .object(let object) = read { found = String(decoding: object.body.bytes, as: UTF8.self) }
                #expect(possible.contains(found), "seed \(seed) step \(step): \(found ?? "absent"), not \(possible)")
            } catch {
                #expect(error.code != .malformedAnswer, "seed \(seed): \(error)")
            }
        }
    }
}
