// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import Logging
internal import Synchronization

/// Holds both sides of the waist to its contract, and traces every request at debug level; for tests and `--debug`.
///
/// A wrong call from above is a defect of this program and ends it. A wrong answer from below is not passed on: it is logged
/// as an error and thrown as `.malformedAnswer`.
///
/// - Concurrency: safe from anywhere; the list of keys being mutated is its only state.
public final class CheckedObjectStore: ObjectStore {
    private let next: any ObjectStore
    private let logger: Logger
    private let mutated = Mutex<Set<ObjectKey>>([])

    /// Makes the layer.
    public init(over next: any ObjectStore, logger: Logger) {
        self.next = next
        self.logger = logger
    }

    /// Reads an object; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        precondition(range.map { $0.lowerBound >= 0 && !$0.isEmpty } ?? true, "a range has bytes, at or after the first")
        let name = "GET \(key)"
        let answer = try await traced(name, mutating: false) { () async throws(ObjectStoreError) in
            try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        }
        switch answer {
        case .absent: break
        case .unchanged:
            try check(ifNoneMatch != nil, name, "says \"unchanged\" without having been asked")
        case .object(let object):
            let size = object.attributes.size
            let expected = range.map { $0.clamped(to: 0..<max(size, 0)).count } ?? size
            try check(object.body.count == expected, name, "gave \(object.body.count) bytes, not \(expected)")
            try check(ifMatch == nil || object.attributes.eTag == ifMatch, name, "gave another version than asked for")
            try check(
                ifNoneMatch == nil || object.attributes.eTag != ifNoneMatch, name, "gave the version that the caller has")
        }
        return answer
    }

    /// Asks for attributes; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        let name = "HEAD \(key)"
        let answer = try await traced(name, mutating: false) { () async throws(ObjectStoreError) in
            try await next.head(key, context)
        }
        if case .present(let attributes) = answer { try check(attributes.size >= 0, name, "gave a negative size") }
        return answer
    }

    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        begin([key])
        defer { end([key]) }
        return try await traced("PUT \(key)", mutating: true) { () async throws(ObjectStoreError) in
            try await next.put(key, body, metadata, condition, context)
        }
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        begin(keys)
        defer { end(keys) }
        let name = "DELETE \(keys.map(\.name).joined(separator: " "))"
        let mutation = try await traced(name, mutating: true) { () async throws(ObjectStoreError) in
            try await next.delete(keys, context)
        }
        try check(mutation.eTag == nil, name, "gave a version to what is gone", outcomeIsUnknown: true)
        return mutation
    }

    /// Lists objects; see ``ObjectStore/list(prefix:after:limit:_:)``.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        precondition((1...1000).contains(limit), "a page has 1 to 1000 entries")
        let name = "LIST \(prefix)"
        let page = try await traced(name, mutating: false) { () async throws(ObjectStoreError) in
            try await next.list(prefix: prefix, after: after, limit: limit, context)
        }
        try check(page.entries.count <= limit, name, "gave \(page.entries.count) entries, more than \(limit)")
        var last = after
        for entry in page.entries {
            try check(last.map { $0 < entry.key } ?? true, name, "gave \"\(entry.key)\" out of order")
            try check(entry.key.name.utf8.starts(with: prefix.utf8), name, "gave \"\(entry.key)\", which has another prefix")
            last = entry.key
        }
        if let next = page.next {
            let isProgress = page.entries.isEmpty ? (after.map { $0 < next } ?? true) : (last.map { $0 <= next } ?? true)
            try check(isProgress, name, "leads back with its next page")
        }
        return page
    }

    // MARK: Checks

    /// Claims keys for a mutation.
    private func begin(_ keys: [ObjectKey]) {
        mutated.withLock { mutated in
            for key in keys {
                precondition(mutated.insert(key).inserted, "two mutations of object \"\(key)\" are in flight")
            }
        }
    }

    private func end(_ keys: [ObjectKey]) { mutated.withLock { $0.subtract(keys) } }

    private func traced<Answer>(
        _ name: String, mutating: Bool, _ request: () async throws(ObjectStoreError) -> Answer
    ) async throws(ObjectStoreError) -> Answer {
        logger.debug("\(name)")
        do throws(ObjectStoreError) {
            let answer = try await request()
            logger.debug("success: \(name)")
            return answer
        } catch {
            logger.debug("failed: \(name)", metadata: ["code": "\(error.code)", "cause": "\(error)"])
            try check(mutating || !error.outcomeIsUnknown, name, "says that a read may have changed something")
            try check(mutating || error.code != .noSpace, name, "says that a read found no space")
            throw error
        }
    }

    private func check(
        _ holds: Bool, _ name: String, _ violation: String, outcomeIsUnknown: Bool = false
    ) throws(ObjectStoreError) {
        guard !holds else { return }
        logger.error("the store breaks its contract: \(name) \(violation)")
        throw ObjectStoreError(.malformedAnswer, "\(name): the store \(violation)", outcomeIsUnknown: outcomeIsUnknown)
    }
}
