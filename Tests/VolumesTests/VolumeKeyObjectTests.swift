// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Volumes

/// A store without conditional PUTs, over another.
final class UnconditionalObjectStore: ObjectStore {
    private let next: any ObjectStore
    init(over next: any ObjectStore) { self.next = next }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await next.head(key, context)
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        guard condition == .none else { throw failure(.notImplemented) }
        return try await next.put(key, body, metadata, condition, context)
    }

    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await next.delete(keys, context)
    }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await next.list(prefix: prefix, after: after, limit: limit, context)
    }
}

@Suite("Making the key object of a volume")
struct VolumeKeyObjectTests {
    private let fixture = EncryptedFixture()

    /// How a store treats the condition of a PUT.
    enum Conditions: CaseIterable, Sendable { case kept, ignored, refused }

    private func object(_ store: (any ObjectStore)? = nil) -> VolumeKeyObject {
        VolumeKeyObject(
            in: store ?? fixture.store, fixture.options(.gcm), for: "open", timeline: fixture.timeline,
            logger: fixture.log.logger)
    }

    private func create(_ object: VolumeKeyObject, _ password: String = "geheim") async throws(VolumeError) -> [UInt8] {
        try await object.create(by: secret(password), quickScrypt, spread: .milliseconds(500)).key.withBytes { Array($0) }
    }

    private func stored() async throws -> VolumeKeyRecord { try required(try await object().read()).record }

    @Test("it is made once, on condition that there is none, tried twice, and read back")
    func requests() async throws {
        let key = try await create(object())
        #expect(
            fixture.store.takeLog() == [
                "GET vm/s3backer-key", "PUT vm/s3backer-key", "PUT vm/s3backer-key", "GET vm/s3backer-key",
            ])
        #expect(try await create(object()) == key)
        #expect(fixture.store.takeLog() == ["GET vm/s3backer-key"])
        #expect(fixture.log.take().filter { $0.contains("keep a copy of it") }.count == 1)
    }

    @Test("of two that make it at once, both use the same, which stays", arguments: Conditions.allCases, UInt64(0)..<30)
    func race(conditions: Conditions, seed: UInt64) async throws {
        let delays = Mutex(SeededGenerator(seed: seed))
        let (fixture, timeline) = (fixture, fixture.timeline)
        fixture.store.on { request in
            let delay = delays.withLock { $0.duration(upTo: .milliseconds(150)) }
            do { try await timeline.sleep(until: timeline.now + delay) } catch { Issue.record(error) }
            return conditions == .ignored && request.hasPrefix("PUT") ? .unconditional : .done
        }
        let object = object(conditions == .refused ? UnconditionalObjectStore(over: fixture.store) : fixture.store)
        let keys = try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 10_000) {
            async let one = create(object)
            async let other = create(object)
            return [try await one, try await other]
        }
        #expect(keys[0] == keys[1], "seed \(seed)")
        fixture.store.heal()
        #expect(try await create(self.object()) == keys[0], "seed \(seed)")
    }

    @Test("an object of somebody else who was faster is taken, with his password only")
    func faster() async throws {
        let key = try await create(object())
        #expect(try await create(object()) == key)
        let error = await #expect(throws: VolumeError.self) { try await create(object(), "other") }
        #expect(error?.code == .password)
        let text = error?.message ?? ""
        #expect(
            text
                == "cannot open bucket \"b/vm\": the password is not that of the volume, or its key object \"vm/s3backer-key\" was "
                + "changed; try again, or restore the object from a copy")
    }

    @Test("a PUT whose answer is lost is waited for, and its object used if it is there", arguments: 1...2)
    func answerLost(which: Int) async throws {
        let puts = Mutex(0)
        fixture.store.on { request in
            guard request.hasPrefix("PUT") else { return .done }
            let number = puts.withLock {
                $0 += 1
                return $0
            }
            return number == which ? .answerLost : .done
        }
        let object = object()
        let key = try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 1000) { try await create(object) }
        // The second of the store that keeps conditions is refused, which is an answer.
        #expect(fixture.timeline.now == (which == 1 ? .seconds(60) : .zero))
        fixture.store.heal()
        #expect(try await create(object) == key)
    }

    @Test("a PUT that fails fails the opening, without a wait when it says that nothing was done")
    func putFails() async throws {
        fixture.store.on { $0.hasPrefix("PUT") ? .fails(failure(.forbidden)) : .done }
        let error = await #expect(throws: VolumeError.self) { try await create(object()) }
        #expect(error?.code == .store)
        #expect(
            error?.message
                == "cannot open bucket \"b/vm\": cannot write its key object \"vm/s3backer-key\": the store says forbidden"
        )
        #expect(fixture.store.objects.keys == [])
    }

    @Test("an object that cannot be read is named, and never replaced")
    func unreadable() async throws {
        for text in ["s3backer volume key 2\n", "", String(repeating: "s3backer volume key 1\n", count: 300)] {
            _ = try await fixture.store.objects.put(
                fixture.key, BufferSlice(Buffer(copying: Array(text.utf8))), ObjectMetadata(), .none, .foreground)
            let error = await #expect(throws: VolumeError.self) { try await create(object()) }
            #expect(error?.code == .encryption)
            #expect(
                error?.message.hasPrefix("cannot open bucket \"b/vm\": its key object \"vm/s3backer-key\" cannot be used: ")
                    == true)
            let cure = text.hasSuffix("2\n") ? "; use that version" : "; restore the object from a copy"
            #expect(error?.message.hasSuffix(cure) == true)
        }
        #expect(fixture.changedNothing())
    }
}
