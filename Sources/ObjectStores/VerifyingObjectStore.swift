// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
public import DataPath
public import Logging
internal import Synchronization

/// Checks that each body is the one that was stored: its length, and its MD5 where the ETag is one.
///
/// S3's ETag of a plain PUT is the MD5 of the body. Other stores give ETags of the same look that are none; evidence tells, see
/// `DigestEvidenceStateMachine`. A body that is wrong is thrown as `.malformedAnswer`, which `RetryingObjectStore` asks for again.
/// Parts of objects are not checked: there is nothing to check them against.
///
/// - Concurrency: safe from anywhere; hashing runs on the caller's executor, outside of any lock.
/// - Source: Amazon S3 User Guide, "Checking object integrity"; RFC 1321.
public final class VerifyingObjectStore: ObjectStore {
    /// Bodies of at most this size are hashed when they are put, to learn what the store's ETags are; larger ones only where an
    /// object was read that contradicts what was learnt.
    private static let hashedPutMax = 4096

    private let next: any ObjectStore
    private let computing: (any TaskExecutor)?
    private let logger: Logger
    private let evidence = Mutex(DigestEvidenceStateMachine())

    /// Makes the layer.
    ///
    /// - Parameter computing: Where bodies are hashed; nil for the executor of the caller.
    public init(over next: any ObjectStore, computing: (any TaskExecutor)? = nil, logger: Logger) {
        self.next = next
        self.computing = computing
        self.logger = logger
    }

    /// Reads an object, and checks it if it is read whole; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    ///
    /// - Throws: `.malformedAnswer` when the body is not the one that belongs to its ETag, or has another length.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        let answer = try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        if range == nil, case .object(let object) = answer { try await check(object, key) }
        return answer
    }

    /// Asks for attributes; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await next.head(key, context)
    }

    /// Writes an object, and learns from its ETag; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let mutation = try await next.put(key, body, metadata, condition, context)
        let isSmall = body.count <= Self.hashedPutMax
        if let tag = mutation.eTag?.plainDigest, evidence.withLock({ $0.asksForPut(isSmall: isSmall) }) {
            let isDigest = body.withBytes { hexadecimal(Digest.md5.hash($0)) } == tag
            announce(evidence.withLock { $0.notePut(isDigest: isDigest) })
        }
        return mutation
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await next.delete(keys, context)
    }

    /// Lists objects; see ``ObjectStore/list(prefix:after:limit:_:)``.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await next.list(prefix: prefix, after: after, limit: limit, context)
    }

    // MARK: Checks

    private func check(_ object: Object, _ key: ObjectKey) async throws(ObjectStoreError) {
        guard object.body.count == object.attributes.size else {
            throw malformed(key, "\(object.body.count) bytes came instead of \(object.attributes.size)")
        }
        guard !object.attributes.isTagOpaque, let tag = object.attributes.eTag?.plainDigest else { return }
        guard evidence.withLock({ $0.verdict != .othersToo }) else { return }
        let digest = await withTaskExecutorPreference(computing) {
            object.body.withBytes { hexadecimal(Digest.md5.hash($0)) }
        }
        let (judgement, isNew) = evidence.withLock { $0.noteGet(key, digest: digest, tag: tag) }
        announce(isNew)
        guard judgement == .wrong else { return }
        throw malformed(key, "its body has the MD5 \(digest), but its ETag says \(tag); if that lasts, restore it from a copy")
    }

    private func announce(_ isNew: Bool) {
        guard isNew else { return }
        logger.notice("the store's ETags are not MD5s of the objects; of what is read only the length can be checked")
    }

    private func malformed(_ key: ObjectKey, _ cause: String) -> ObjectStoreError {
        ObjectStoreError(.malformedAnswer, "cannot read object \"\(key)\": \(cause)", outcomeIsUnknown: false)
    }
}

extension ETag {
    /// The 32 lower-case digits, if this looks like the MD5 of an object that was put in one piece; nil for weak tags, and for
    /// those of multipart uploads, which end in a hyphen and the number of parts.
    fileprivate var plainDigest: String? {
        guard text.utf8.count == 2 * Digest.md5.count else { return nil }
        let isHexadecimal = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
                UInt8(ascii: "A")...UInt8(ascii: "F"):
                true
            default: false
            }
        }
        return isHexadecimal ? text.lowercased() : nil
    }
}
