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
                let cause =
                    "its body has the MD5 \(Self.md5("bodY")), but its ETag says \(Self.md5("body")); if that lasts, "
                    + "restore it from a copy"
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

    @Test("after a body that does not fit, puts of any size are looked at, so that other tags for large objects are found out")
    func retrial() async throws {
        let mangling = ManglingStore(tag: { $0 == ETag(Self.md5("small")) ? $0 : ETag(Self.md5("other")) })
        let store = verifying(mangling)
        let large = String(repeating: "x", count: 5000)
        try await put(store, "small")
        try await put(store, large)
        mangling.set { $0.attributes.eTag = ETag(Self.md5("other")) }
        await expectMalformed(store)
        await expectMalformed(store)
        try await put(store, large)
        #expect(try await read(store) == large)
        #expect(lines.all.count == 1)
    }

    @Test("a damaged object stays refused while puts go on to show that the tags are MD5s")
    func retrialOfMD5s() {
        var machine = DigestEvidenceStateMachine()
        #expect(machine.notePut(isDigest: true) == false)
        for _ in 0..<2 {
            #expect(!machine.asksForPut(isSmall: true))
            #expect(machine.noteGet(key, digest: "a", tag: "b").judgement == .wrong)
            for _ in 0..<DigestEvidenceStateMachine.retrialPutsMax {
                #expect(machine.asksForPut(isSmall: false))
                #expect(machine.notePut(isDigest: true) == false)
            }
        }
        #expect(machine.verdict == .allDigests)
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
