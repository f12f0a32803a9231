// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import Synchronization

/// A store over a memory store whose next requests go as a test writes down.
final class ScriptedStore: ObjectStore {
    /// How a request goes.
    enum Step: Sendable {
        /// As it should.
        case pass
        /// It fails, and nothing was done.
        case fail(ObjectStoreError)
        /// It is done, and fails nevertheless.
        case failAfter(ObjectStoreError)
        /// Something else happens first, in the memory store.
        case first(@Sendable (MemoryObjectStore) async throws(ObjectStoreError) -> Void)
    }
    let memory = MemoryObjectStore()
    private let script: Mutex<[Step]>
    private let log = Mutex<[String]>([])

    init(_ script: [Step]) { self.script = Mutex(script) }

    /// The requests that came.
    var requests: [String] { log.withLock { $0 } }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await step("GET \(key)") { () async throws(ObjectStoreError) in
            try await memory.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        }
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await step("HEAD \(key)") { () async throws(ObjectStoreError) in try await memory.head(key, context) }
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        try await step("PUT \(key)") { () async throws(ObjectStoreError) in
            try await memory.put(key, body, metadata, condition, context)
        }
    }

    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await step("DELETE") { () async throws(ObjectStoreError) in try await memory.delete(keys, context) }
    }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await step("LIST") { () async throws(ObjectStoreError) in
            try await memory.list(prefix: prefix, after: after, limit: limit, context)
        }
    }

    private func step<Answer>(
        _ name: String, _ request: () async throws(ObjectStoreError) -> Answer
    ) async throws(ObjectStoreError) -> Answer {
        log.withLock { $0.append(name) }
        switch script.withLock({ $0.isEmpty ? .pass : $0.removeFirst() }) {
        case .pass: return try await request()
        case .fail(let error): throw error
        case .failAfter(let error):
            _ = try await request()
            throw error
        case .first(let deed):
            try await deed(memory)
            return try await request()
        }
    }
}

/// A failure without more.
func failure(_ code: ObjectStoreError.Code, isUnknown: Bool = false, retryAfter: Duration? = nil) -> ObjectStoreError {
    ObjectStoreError(code, "\(code) happened", outcomeIsUnknown: isUnknown, retryAfter: retryAfter)
}

/// Bytes to put.
func body(_ text: String) -> BufferSlice { BufferSlice(Buffer(copying: Array(text.utf8))) }

/// A store that gives no tags, or makes weak ones of them.
final class TaglessStore: ObjectStore {
    private let next: any ObjectStore
    private let isWeak: Bool

    init(over next: any ObjectStore, isWeak: Bool = false) {
        self.next = next
        self.isWeak = isWeak
    }

    private func changed(_ tag: ETag?) -> ETag? { isWeak ? tag.map { ETag("W/\($0.text)") } : nil }

    private func changed(_ attributes: ObjectAttributes) -> ObjectAttributes {
        var attributes = attributes
        attributes.eTag = changed(attributes.eTag)
        return attributes
    }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        let read = try await next.get(key, range: range, ifMatch: nil, ifNoneMatch: nil, context)
        guard case .object(var object) = read else { return read }
        object.attributes = changed(object.attributes)
        return .object(object)
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        let head = try await next.head(key, context)
        guard case .present(let attributes) = head else { return head }
        return .present(changed(attributes))
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let mutation = try await next.put(key, body, metadata, condition, context)
        return Mutation(eTag: changed(mutation.eTag), isSettled: mutation.isSettled)
    }

    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await next.delete(keys, context)
    }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        var page = try await next.list(prefix: prefix, after: after, limit: limit, context)
        for index in page.entries.indices { page.entries[index].eTag = changed(page.entries[index].eTag) }
        return page
    }
}

/// A store that lets a test act between a get and its answer.
final class RelayStore: ObjectStore {
    typealias Deed = @Sendable () async throws(ObjectStoreError) -> Void

    private let next: any ObjectStore
    private let deed = Mutex<Deed?>(nil)
    private let count = Mutex(0)

    init(to next: any ObjectStore) { self.next = next }

    /// How many gets came.
    var getCount: Int { count.withLock { $0 } }

    /// What happens before the next get is answered.
    func beforeNextGet(_ deed: @escaping Deed) { self.deed.withLock { $0 = deed } }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        count.withLock { $0 += 1 }
        let deed = deed.withLock { deed in
            defer { deed = nil }
            return deed
        }
        if let deed { try await deed() }
        return try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await next.head(key, context)
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        try await next.put(key, body, metadata, condition, context)
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
