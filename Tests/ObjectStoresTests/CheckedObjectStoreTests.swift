// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Testing

@Suite("CheckedObjectStore")
struct CheckedObjectStoreTests {
    /// Answers whatever the test wants.
    private struct LyingStore: ObjectStore {
        var read = ObjectRead.absent
        var page = ObjectListPage(entries: [], next: nil)
        var mutation = Mutation(eTag: nil, isSettled: true)

        func get(
            _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
        ) async throws(ObjectStoreError) -> ObjectRead { read }
        func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead { .absent }
        func put(
            _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition,
            _ context: IOContext
        ) async throws(ObjectStoreError) -> Mutation { mutation }
        func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation { mutation }
        func list(
            prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
        ) async throws(ObjectStoreError) -> ObjectListPage { page }
    }

    private let key = ObjectKey("k")

    private func object(count: Int, size: Int, eTag: String) -> ObjectRead {
        let attributes = ObjectAttributes(size: size, eTag: ETag(eTag), metadata: ObjectMetadata())
        return .object(Object(body: body(String(repeating: "x", count: count)), attributes: attributes))
    }

    private func expectRefusal(
        _ lie: ObjectRead, range: Range<Int>? = nil, ifMatch: ETag? = nil, ifNoneMatch: ETag? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        let store = CheckedObjectStore(over: LyingStore(read: lie), logger: silent)
        await #expect(sourceLocation: sourceLocation) {
            try await store.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, .foreground)
        } throws: { error in
            (error as? ObjectStoreError)?.code == .malformedAnswer
        }
    }

    @Test("wrong reads are not passed on")
    func refusesReads() async {
        await expectRefusal(object(count: 3, size: 4, eTag: "a"))
        await expectRefusal(object(count: 4, size: 4, eTag: "a"), range: 2..<4)
        await expectRefusal(object(count: 2, size: 4, eTag: "a"), range: 3..<5)
        await expectRefusal(object(count: 4, size: 4, eTag: "a"), ifMatch: ETag("b"))
        await expectRefusal(object(count: 4, size: 4, eTag: "a"), ifNoneMatch: ETag("a"))
        await expectRefusal(.unchanged)
    }

    private func expectRefusal(
        _ names: [String], next: String? = nil, after: String? = nil, limit: Int = 10,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        let entries = names.map { ObjectListEntry(key: ObjectKey($0), size: 1, eTag: nil) }
        let page = ObjectListPage(entries: entries, next: next.map { ObjectKey($0) })
        let store = CheckedObjectStore(over: LyingStore(page: page), logger: silent)
        await #expect(sourceLocation: sourceLocation) {
            try await store.list(prefix: "p", after: after.map { ObjectKey($0) }, limit: limit, .foreground)
        } throws: { error in
            (error as? ObjectStoreError)?.code == .malformedAnswer
        }
    }

    @Test("wrong lists are not passed on")
    func refusesLists() async {
        await expectRefusal(["p2", "p1"])
        await expectRefusal(["p1", "p1"])
        await expectRefusal(["p1", "q"])
        await expectRefusal(["p1", "p2"], limit: 1)
        await expectRefusal(["p1"], after: "p1")
        await expectRefusal(["p1", "p2"], next: "p1")
        await expectRefusal([], next: "p1", after: "p1")
    }

    @Test("two mutations of one key in flight end the process")
    func trapsOverlap() async {
        await #expect(processExitsWith: .failure) {
            let store = CheckedObjectStore(over: MemoryObjectStore(), logger: silent)
            let key = ObjectKey("k")
            _ = try await store.delete([key, key], .foreground)
        }
    }
}
