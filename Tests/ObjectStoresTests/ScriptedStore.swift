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
