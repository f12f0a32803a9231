// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import Synchronization

/// A store that notes each request and lets the test decide what becomes of it.
final class ScriptedObjectStore: ObjectStore {
    /// What becomes of a request.
    enum Fate: Sendable {
        /// It is done.
        case done
        /// It is not done, and fails.
        case fails(ObjectStoreError)
        /// It is done after an attempt without an answer, which may arrive late.
        case unsettled
        /// It is done, and its answer is lost.
        case answerLost
        /// A conditional PUT is done without a look at its condition.
        case unconditional
        /// It is done, and the answer has this tag instead of its own.
        case tagged(ETag?)
    }

    let objects: MemoryObjectStore
    private let log = Mutex<[String]>([])
    private let script: Mutex<@Sendable (String) async -> Fate> = Mutex { _ in .done }

    init(_ objects: MemoryObjectStore = MemoryObjectStore()) { self.objects = objects }

    /// Decides from now on; gets `VERB key`, for a batch `DELETE count first-key`.
    func on(_ decide: @escaping @Sendable (String) async -> Fate) { script.withLock { $0 = decide } }

    /// Lets everything be done.
    func heal() { on { _ in .done } }

    /// The requests since the last call.
    func takeLog() -> [String] {
        log.withLock { log in
            defer { log = [] }
            return log
        }
    }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        let fate = try await begin("GET \(key)")
        let answer = try await objects.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        if case .tagged(let eTag) = fate, case .object(var object) = answer {
            object.attributes.eTag = eTag
            return .object(object)
        }
        return answer
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        _ = try await begin("HEAD \(key)")
        return try await objects.head(key, context)
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let fate = try await begin("PUT \(key)")
        var condition = condition
        if case .unconditional = fate { condition = .none }
        return try end(fate, try await objects.put(key, body, metadata, condition, context))
    }

    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        let fate = try await begin("DELETE \(keys.count) \(keys[0])")
        return try end(fate, try await objects.delete(keys, context))
    }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        _ = try await begin("LIST \(prefix)")
        return try await objects.list(prefix: prefix, after: after, limit: limit, context)
    }

    private func begin(_ request: String) async throws(ObjectStoreError) -> Fate {
        log.withLock { $0.append(request) }
        let fate = await script.withLock { $0 }(request)
        if case .fails(let error) = fate { throw error }
        return fate
    }

    private func end(_ fate: Fate, _ mutation: Mutation) throws(ObjectStoreError) -> Mutation {
        var mutation = mutation
        switch fate {
        case .unsettled: mutation.isSettled = false
        case .tagged(let eTag): mutation.eTag = eTag
        case .answerLost:
            throw ObjectStoreError(.connectionLost, "connection reset by peer", outcomeIsUnknown: true)
        case .done, .fails, .unconditional: break
        }
        return mutation
    }
}

/// An error that says nothing was done.
func failure(_ code: ObjectStoreError.Code) -> ObjectStoreError {
    ObjectStoreError(code, "the store says \(code.rawValue)", outcomeIsUnknown: false)
}
