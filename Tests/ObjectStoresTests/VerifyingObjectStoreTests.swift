// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import DataPath
import Logging
import StoreTesting
import Synchronization
import Testing

@testable import ObjectStores

@Suite("VerifyingObjectStore")
struct VerifyingObjectStoreTests {
    private let key = ObjectKey("k")
    private let lines = LogLines()

    private func verifying(_ next: any ObjectStore) -> VerifyingObjectStore {
        VerifyingObjectStore(over: next, logger: lines.logger)
    }

    private func read(_ store: any ObjectStore, range: Range<Int>? = nil) async throws(ObjectStoreError) -> String? {
        let read = try await store.get(key, range: range, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = read else { return nil }
        return String(decoding: object.body.bytes, as: UTF8.self)
    }

    private func put(_ store: any ObjectStore, _ text: String) async throws(ObjectStoreError) {
        _ = try await store.put(key, body(text), ObjectMetadata(), .none, .foreground)
    }

    private static func md5(_ text: String) -> String { hexadecimal(Digest.md5.hash(text)) }

    private func expectMalformed(_ store: any ObjectStore) async {
        await #expect { _ = try await read(store) } throws: { error in
            (error as? ObjectStoreError)?.code == .malformedAnswer
        }
    }

    @Test("once the store's ETags are known to be MD5s, a changed body is never accepted, however often it comes")
    func changedBody() async throws {
        let mangling = ManglingStore()
        let store = verifying(mangling)
        try await put(store, "body")
        mangling.set { $0.body = body("bodY") }
        for _ in 0..<5 {
            await #expect { _ = try await read(store) } throws: { error in
                guard let error = error as? ObjectStoreError else { return false }
                let cause = "its body has the MD5 \(Self.md5("bodY")), but its ETag says \(Self.md5("body"))"
                return error.code == .malformedAnswer && error.message == "cannot read object \"k\": " + cause
            }
        }
        #expect(try await read(store, range: 0..<3) == "bod", "a part cannot be checked")
        mangling.set { $0.attributes.eTag = $0.attributes.eTag.map { ETag($0.text.uppercased()) } }
        #expect(try await read(store) == "body")
        #expect(lines.all.isEmpty)
    }

    @Test("a body of another length than its object is refused")
    func length() async throws {
        let mangling = ManglingStore()
        let store = verifying(mangling)
        try await put(store, "body")
        mangling.set {
            $0.body = body("bod")
            $0.attributes.eTag = nil
        }
        await expectMalformed(store)
    }

    @Test(
        "a tag that is weak, of a multipart upload, opaque or missing says nothing about the body",
        arguments: ["W/", "-2", "opaque", "none"])
    func noDigest(kind: String) async throws {
        let mangling = ManglingStore()
        let store = verifying(mangling)
        try await put(store, "body")
        mangling.set { object in
            object.body = body("bodY")
            switch kind {
            case "W/": object.attributes.eTag = object.attributes.eTag.map { ETag("W/" + $0.text) }
            case "-2": object.attributes.eTag = object.attributes.eTag.map { ETag($0.text + "-2") }
            case "opaque": object.attributes.isTagOpaque = true
            default: object.attributes.eTag = nil
            }
        }
        #expect(try await read(store) == "bodY")
    }

    @Test("a put whose tag is not the MD5 of its body shows that there are other tags, which is told once")
    func otherTags() async throws {
        let mangling = ManglingStore(tag: { _ in ETag(Self.md5("other")) })
        let store = verifying(mangling)
        try await put(store, "body")
        try await put(store, "body")
        mangling.set { $0.attributes.eTag = ETag(Self.md5("other")) }
        #expect(try await read(store) == "body")
        #expect(
            lines.all == ["notice the store's ETags are not MD5s of the objects; of what is read only the length can be checked"])
    }

    @Test("before anything is known, a body that does not fit is asked for again, and accepted when the same comes back")
    func undecided() async throws {
        let mangling = ManglingStore()
        try await put(mangling, "body")
        let store = verifying(mangling)
        mangling.set { $0.body = body("bodX") }
        await expectMalformed(store)
        mangling.set { $0.body = body("bodY") }
        await expectMalformed(store)
        #expect(try await read(store) == "bodY")
        #expect(lines.all.count == 1)
    }

    @Test("a get that fits shows that the tags are MD5s; a large put is not hashed")
    func evidence() async throws {
        var machine = DigestEvidenceStateMachine()
        #expect(machine.noteGet(key, digest: "a", tag: "a").judgement == .good)
        #expect(machine.verdict == .allDigests)
        #expect(machine.notePut(isDigest: false) == false)
        #expect(machine.verdict == .allDigests)
        let mangling = ManglingStore(tag: { _ in ETag(Self.md5("other")) })
        let store = verifying(mangling)
        try await put(store, String(repeating: "x", count: 5000))
        #expect(lines.all.isEmpty)
    }

    @Test("the objects that did not fit are remembered up to a number")
    func boundedSuspects() {
        var machine = DigestEvidenceStateMachine()
        for index in 0...DigestEvidenceStateMachine.suspectsMax {
            #expect(machine.noteGet(ObjectKey("\(index)"), digest: "a", tag: "b").judgement == .wrong)
        }
        #expect(machine.noteGet(ObjectKey("0"), digest: "a", tag: "b").judgement == .wrong)
        #expect(machine.noteGet(ObjectKey("64"), digest: "a", tag: "b") == (.good, true))
    }
}

/// A memory store that changes what is read, and the tags of what is put.
private final class ManglingStore: ObjectStore {
    private let next = MemoryObjectStore()
    private let tag: @Sendable (ETag?) -> ETag?
    private let change = Mutex<@Sendable (inout Object) -> Void>({ _ in })

    init(tag: @escaping @Sendable (ETag?) -> ETag? = { $0 }) { self.tag = tag }

    /// What happens to objects on their way.
    func set(_ change: @escaping @Sendable (inout Object) -> Void) { self.change.withLock { $0 = change } }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        let read = try await next.get(key, range: nil, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        guard case .object(var object) = read else { return read }
        change.withLock { $0 }(&object)
        if let range { object.body = object.body.slice(range) }
        return .object(object)
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await next.head(key, context)
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let mutation = try await next.put(key, body, metadata, condition, context)
        return Mutation(eTag: tag(mutation.eTag), isSettled: mutation.isSettled)
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
