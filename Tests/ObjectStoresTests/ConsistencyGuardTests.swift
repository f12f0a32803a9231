// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import StoreTesting
import Testing

@testable import ObjectStores

@Suite("ConsistencyGuard")
struct ConsistencyGuardTests {
    private let key = ObjectKey("b1")
    private let timeline = ManualTimeline()

    private func guarding(
        _ next: any ObjectStore, objectsMax: Int = 10, keptFor: Duration? = .seconds(10), delay: Duration = .zero,
        timeline: (any Timeline)? = nil, logger: Logger = silent
    ) -> ConsistencyGuard {
        ConsistencyGuard(
            over: next, limits: ConsistencyLimits(objectsMax: objectsMax, keptFor: keptFor, minWriteDelay: delay),
            guards: { $0.name.hasPrefix("b") }, timeline: timeline ?? self.timeline, logger: logger)
    }

    private func put(_ store: any ObjectStore, _ text: String, _ condition: PutCondition = .none) async throws(ObjectStoreError) {
        _ = try await store.put(key, body(text), ObjectMetadata(), condition, .foreground)
    }

    private func get(
        _ store: any ObjectStore, range: Range<Int>? = nil, ifMatch: ETag? = nil, ifNoneMatch: ETag? = nil
    ) async throws(ObjectStoreError) -> String? {
        switch try await store.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, .foreground) {
        case .absent: nil
        case .unchanged: "unchanged"
        case .object(let object): String(decoding: object.body.bytes, as: UTF8.self)
        }
    }

    /// Expects a request to fail with `.stale`, and returns its message.
    @discardableResult
    private func expectStale(_ request: () async throws(ObjectStoreError) -> Void) async -> String {
        do throws(ObjectStoreError) {
            try await request()
            Issue.record("a stale answer was believed")
            return ""
        } catch {
            #expect(error.code == .stale && !error.outcomeIsUnknown)
            return error.message
        }
    }

    @Test("an older version, and the absence of what was written, are stale, and the message says how old the knowledge is")
    func staleAnswers() async throws {
        for isTagless in [false, true] {
            let memory = MemoryObjectStore()
            let store = guarding(isTagless ? TaglessStore(over: memory) : memory)
            try await put(store, "new")
            timeline.advance(by: .milliseconds(3250))
            try await put(memory, "old")
            let older = await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) }
            #expect(
                older == "cannot read object \"b1\": the store answers with an older version of it than the one written "
                    + "3.2 seconds ago")
            _ = try await memory.delete([key], .foreground)
            let absent = await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) }
            #expect(
                absent == "cannot read object \"b1\": the store answers that it does not exist, but it was written "
                    + "3.2 seconds ago")
            await expectStale { () async throws(ObjectStoreError) in _ = try await store.head(key, .foreground) }
            #expect(store.statistics.staleAnswers == 3)
            #expect(store.statistics.refusals == (isTagless ? 0 : 1), "without a tag there is no If-Match to refuse")
            try await put(memory, "new")
            #expect(try await get(store) == "new")
            #expect(try await get(store, range: 1..<2) == "e")
            timeline.advance(by: .seconds(10))
            try await put(memory, "other")
            #expect(try await get(store) == "other", "what is forgotten is not insisted on")
        }
    }

    @Test("where nothing is ever forgotten, a stale answer's message says what to do if somebody else changed the object")
    func foreignChange() async throws {
        let memory = MemoryObjectStore()
        let store = guarding(memory, keptFor: nil)
        try await put(store, "ours")
        try await put(memory, "theirs")
        let message = await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) }
        #expect(message.hasSuffix("written 0.0 seconds ago; if somebody else changed it, unmount and mount again"))
    }

    @Test("a tag that a proxy made weak on the way back is still that of the version written")
    func weakened() async throws {
        let mangling = ManglingStore()
        mangling.set { $0.attributes.eTag = $0.attributes.eTag.map { ETag("W/" + $0.text) } }
        let store = guarding(mangling)
        try await put(store, "new")
        #expect(try await get(store) == "new")
        guard case .present = try await store.head(key, .foreground) else { return #expect(Bool(false)) }
        try await put(mangling, "old")
        await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) }
        await expectStale { () async throws(ObjectStoreError) in _ = try await store.head(key, .foreground) }
    }

    @Test("a deleted object is absent without a request, to GET and HEAD, and counted")
    func dataHits() async throws {
        let scripted = ScriptedStore([])
        let store = guarding(scripted)
        _ = try await store.delete([key], .foreground)
        try await put(scripted.memory, "old")
        #expect(try await get(store) == nil)
        #expect(try await store.head(key, .foreground) == .absent)
        #expect(try await store.list(prefix: "", after: nil, limit: 10, .foreground).entries.isEmpty)
        #expect(scripted.requests == ["DELETE", "LIST"])
        #expect(store.statistics.dataHits == 2)
        #expect(store.statistics.currentSize == 1)
        store.resetStatistics()
        #expect(store.statistics.dataHits == 0)
    }

    @Test("after a write without an answer the version before and the attempted one are believed, and no third")
    func doubt() async throws {
        let scripted = ScriptedStore([.pass, .fail(failure(.timedOut, isUnknown: true))])
        let store = guarding(scripted)
        try await put(store, "old")
        await #expect(throws: ObjectStoreError.self) { try await put(store, "new") }
        #expect(try await get(store) == "old")
        try await put(scripted.memory, "new")
        #expect(try await get(store) == "new")
        try await put(scripted.memory, "ancient")
        await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) }
        guard case .present = try await store.head(key, .foreground) else { return #expect(Bool(false)) }
    }

    @Test("after a refused write the version before is what counts")
    func refused() async throws {
        let scripted = ScriptedStore([.pass, .fail(failure(.slowDown))])
        let store = guarding(scripted)
        try await put(store, "old")
        await #expect(throws: ObjectStoreError.self) { try await put(store, "new") }
        #expect(try await get(store) == "old")
        try await put(scripted.memory, "new")
        await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) }
    }

    @Test("the caller's conditions get the answers of a store that is up to date")
    func conditions() async throws {
        let memory = MemoryObjectStore()
        let store = guarding(memory)
        try await put(memory, "old")
        guard case .present(let old) = try await memory.head(key, .foreground) else { return #expect(Bool(false)) }
        try await put(store, "new")
        guard case .present(let new) = try await memory.head(key, .foreground) else { return #expect(Bool(false)) }
        #expect(try await get(store, ifNoneMatch: new.eTag) == "unchanged")
        #expect(try await get(store, ifNoneMatch: old.eTag) == "new")
        await #expect(throws: ObjectStoreError.self) { try await get(store, ifMatch: old.eTag) }
        #expect(try await get(store, ifMatch: new.eTag) == "new")
        try await put(memory, "old")
        await expectStale { () async throws(ObjectStoreError) in _ = try await get(store, ifNoneMatch: old.eTag) }
        await expectStale { () async throws(ObjectStoreError) in _ = try await get(store, ifNoneMatch: new.eTag) }
        await expectStale { () async throws(ObjectStoreError) in _ = try await get(store, ifMatch: new.eTag) }
    }

    @Test("a condition of a write that is known not to hold is refused without a request")
    func contradictedCondition() async throws {
        let scripted = ScriptedStore([])
        let store = guarding(scripted)
        try await put(store, "one")
        await #expect { try await put(store, "two", .ifAbsent) } throws: { error in
            (error as? ObjectStoreError)?.code == .preconditionFailed
        }
        #expect(scripted.requests == ["PUT b1"])
    }

    @Test("a read that a write overtakes is asked once more, without a condition, and believed")
    func overtaken() async throws {
        let memory = MemoryObjectStore()
        let relay = RelayStore(to: memory)
        let store = guarding(relay)
        try await put(store, "old")
        relay.beforeNextGet { [key] () async throws(ObjectStoreError) in
            _ = try await store.put(key, body("new"), ObjectMetadata(), .none, .foreground)
        }
        #expect(try await get(store) == "new")
        #expect(relay.getCount == 2)
    }

    @Test("objects that others change are not guarded")
    func unguarded() async throws {
        let memory = MemoryObjectStore()
        let store = guarding(memory)
        let token = ObjectKey("token")
        _ = try await store.put(token, body("ours"), ObjectMetadata(), .none, .foreground)
        _ = try await memory.put(token, body("theirs"), ObjectMetadata(), .none, .foreground)
        guard case .object(let object) = try await store.get(token, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        else { return #expect(Bool(false)) }
        #expect(object.body.bytes == Array("theirs".utf8))
        _ = try await store.delete([token], .foreground)
        #expect(store.statistics.currentSize == 0)
    }

    @Test("two writes of an object keep their distance, and a full table makes a write wait; both are counted")
    func waits() async throws {
        let timeline = HurriedTimeline()
        let store = guarding(
            MemoryObjectStore(), objectsMax: 1, keptFor: .seconds(10), delay: .milliseconds(1500), timeline: timeline)
        try await put(store, "one")
        try await put(store, "two")
        #expect(timeline.now == .milliseconds(1500))
        #expect(store.statistics.writeDelays == .milliseconds(1500))
        _ = try await store.put(ObjectKey("b2"), body("three"), ObjectMetadata(), .none, .foreground)
        #expect(timeline.now == .milliseconds(11_500))
        #expect(store.statistics.fullDelays == .seconds(10))
    }

    @Test("a delete of more objects than the table holds goes in pieces")
    func pieces() async throws {
        let scripted = ScriptedStore([])
        let store = guarding(scripted, objectsMax: 3, timeline: HurriedTimeline())
        let keys = (0..<7).map { ObjectKey("b\($0)") } + [ObjectKey("other")]
        #expect(try await store.delete(keys, .foreground).isSettled)
        #expect(scripted.requests.count == 4)
    }

    @Test("a delete that fails after some of its pieces says that its outcome is not known")
    func failedPiece() async throws {
        let scripted = ScriptedStore([.pass, .fail(failure(.slowDown))])
        let store = guarding(scripted, objectsMax: 2, timeline: HurriedTimeline())
        await #expect { try await store.delete((0..<3).map { ObjectKey("b\($0)") }, .foreground) } throws: { error in
            (error as? ObjectStoreError)?.outcomeIsUnknown == true
        }
    }

    @Test("a delete of several objects that fails leaves each in doubt, even if the last answer was a refusal")
    func failedBatch() async throws {
        let scripted = ScriptedStore([.pass, .pass, .failAfter(failure(.slowDown))])
        let store = guarding(scripted)
        try await put(store, "new")
        _ = try await store.put(ObjectKey("b2"), body("2"), ObjectMetadata(), .none, .foreground)
        await #expect(throws: ObjectStoreError.self) { try await store.delete([key, ObjectKey("b2")], .foreground) }
        #expect(try await get(store) == nil)
    }

    @Test("cancelling a change that waits ends it at once, with nothing sent and the queue moved on")
    func cancelling() async throws {
        let scripted = ScriptedStore([])
        let store = guarding(scripted, objectsMax: 1, keptFor: .seconds(10))
        try await put(store, "one")
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 10_000) { [timeline] in
            try await withThrowingTaskGroup(of: ObjectStoreError.Code?.self) { group in
                for name in ["b2", "b3", "b4"] {
                    group.addTask {
                        do throws(ObjectStoreError) {
                            _ = try await store.put(ObjectKey(name), body("x"), ObjectMetadata(), .none, .foreground)
                            return nil
                        } catch {
                            #expect(!error.outcomeIsUnknown)
                            return error.code
                        }
                    }
                }
                group.addTask {
                    try await timeline.sleep(until: .seconds(1))
                    return nil
                }
                _ = try await group.next()
                group.cancelAll()
                var codes: [ObjectStoreError.Code?] = []
                for try await code in group { codes.append(code) }
                #expect(codes == [.cancelled, .cancelled, .cancelled])
            }
        }
        #expect(scripted.requests.count == 1)
        timeline.advance(by: .seconds(10))
        _ = try await store.put(ObjectKey("b5"), body("x"), ObjectMetadata(), .none, .foreground)
    }

    @Test("a table that is full for ever fails the write, and says what to set")
    func fullForEver() async throws {
        let store = guarding(MemoryObjectStore(), objectsMax: 1, keptFor: nil)
        try await put(store, "one")
        await #expect { try await store.delete([ObjectKey("b2")], .foreground) } throws: { error in
            guard let error = error as? ObjectStoreError else { return false }
            return error.code == .outOfMemory && !error.outcomeIsUnknown && error.message.contains("--md5CacheSize")
        }
    }

    @Test("stale answers are told in the log, once a second")
    func logs() async throws {
        let lines = LogLines()
        let memory = MemoryObjectStore()
        let store = guarding(memory, logger: lines.logger)
        try await put(store, "new")
        try await put(memory, "old")
        for _ in 0..<5 { await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) } }
        timeline.advance(by: .seconds(1))
        await expectStale { () async throws(ObjectStoreError) in _ = try await get(store) }
        #expect(lines.all.count { $0 == "info received stale content" } == 2)
    }
}
