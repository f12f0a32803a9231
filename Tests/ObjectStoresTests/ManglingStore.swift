// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Synchronization

/// A memory store that changes what is read, and the tags of what is put.
final class ManglingStore: ObjectStore {
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
        guard case .present(let attributes) = try await next.head(key, context) else { return .absent }
        var object = Object(body: body(""), attributes: attributes)
        change.withLock { $0 }(&object)
        return .present(object.attributes)
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
