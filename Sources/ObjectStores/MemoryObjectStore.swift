// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
public import DataPath
internal import Synchronization

/// An honest object store in memory: the reference for the contract, and what tests stand on.
///
/// ETags are MD5s, as S3's are for a plain PUT. Nothing fails and nothing waits; faults are layers of their own.
public final class MemoryObjectStore: ObjectStore {
    private struct Stored: Sendable {
        let body: BufferSlice
        let attributes: ObjectAttributes
    }
    private let objects = Mutex<[ObjectKey: Stored]>([:])

    /// Makes an empty store.
    public init() {}

    /// The keys that exist, in order; for tests.
    public var keys: [ObjectKey] { objects.withLock { $0.keys.sorted() } }

    /// Reads an object; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        guard let stored = objects.withLock({ $0[key] }) else { return .absent }
        if let ifMatch, stored.attributes.eTag != ifMatch { throw preconditionFailed(key) }
        if let ifNoneMatch, stored.attributes.eTag == ifNoneMatch { return .unchanged }
        guard let range else { return .object(Object(body: stored.body, attributes: stored.attributes)) }
        guard range.lowerBound < stored.body.count else {
            throw ObjectStoreError(
                .unexpectedStatus, "cannot read object \"\(key)\": range starts beyond its end", outcomeIsUnknown: false)
        }
        let part = stored.body.slice(range.clamped(to: 0..<stored.body.count))
        return .object(Object(body: part, attributes: stored.attributes))
    }

    /// Asks for attributes; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        guard let stored = objects.withLock({ $0[key] }) else { return .absent }
        return .present(stored.attributes)
    }

    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let eTag = ETag(hexadecimal(body.withBytes { Digest.md5.hash($0) }))
        let attributes = ObjectAttributes(size: body.count, eTag: eTag, metadata: metadata)
        let isDone = objects.withLock { objects in
            switch condition {
            case .none: break
            case .ifAbsent: if objects[key] != nil { return false }
            case .ifMatch(let expected): if objects[key]?.attributes.eTag != expected { return false }
            }
            objects[key] = Stored(body: body, attributes: attributes)
            return true
        }
        guard isDone else { throw preconditionFailed(key) }
        return Mutation(eTag: eTag, isSettled: true)
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        objects.withLock { objects in
            for key in keys { objects[key] = nil }
        }
        return Mutation(eTag: nil, isSettled: true)
    }

    /// Lists objects; see ``ObjectStore/list(prefix:after:limit:_:)``.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        precondition((1...1000).contains(limit), "a page has 1 to 1000 entries")
        return objects.withLock { objects in
            let found = objects.keys.filter { key in
                key.name.utf8.starts(with: prefix.utf8) && (after.map { $0 < key } ?? true)
            }.sorted()
            let page = found.prefix(limit).compactMap { key in
                objects[key].map { ObjectListEntry(key: key, size: $0.attributes.size, eTag: $0.attributes.eTag) }
            }
            return ObjectListPage(entries: page, next: found.count > limit ? page.last?.key : nil)
        }
    }

    private func preconditionFailed(_ key: ObjectKey) -> ObjectStoreError {
        ObjectStoreError(.preconditionFailed, "object \"\(key)\" has another version", outcomeIsUnknown: false)
    }
}
