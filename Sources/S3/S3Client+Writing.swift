// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
public import DataPath
public import ObjectStores

extension S3Client {
    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``.
    ///
    /// A server that does not know conditions ignores them, and writes; whoever relies on one must check.
    ///
    /// - Source: Amazon S3 API Reference, PutObject; Amazon S3 User Guide, "Conditional writes".
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let operation = S3Operation("write", key, in: settings.endpoint.bucket, isMutation: true)
        var request = request(.put, key)
        request.answerSizeMax = S3Client.answerSizeMax
        request.body = body
        if let encoding = metadata.contentEncoding { request.add("content-encoding", encoding) }
        if let type = metadata.contentType { request.add("content-type", type) }
        request.add("content-md5", base64(body.withBytes { Digest.md5.hash($0) }))
        for (name, value) in metadata.user { request.add("x-amz-meta-" + name, value) }
        addObjectOptions(to: &request)
        switch condition {
        case .none: break
        case .ifAbsent: request.add("if-none-match", "*")
        // Without quotes: RGW compares the text as it comes, and answers 412 to quotes; S3 accepts both spellings.
        case .ifMatch(let eTag): request.add("if-match", eTag.text)
        }
        let response = try await send(request, for: operation)
        guard (200..<300).contains(response.status) else {
            let refusal = refusal(response, to: operation)
            // S3's answer to If-Match where there is no object at all.
            if refusal.isNoSuchKey, condition != .none {
                throw operation.error(.preconditionFailed, "it does not exist any more", outcomeIsUnknown: false)
            }
            throw refusal.objectStoreError
        }
        return Mutation(eTag: response.header("etag").flatMap(ETag.init(header:)), isSettled: true)
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    ///
    /// One key is a DELETE, more are batches of at most 1000. XML cannot spell most control characters: such keys go alone.
    ///
    /// - Source: Amazon S3 API Reference, DeleteObject and DeleteObjects.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        let spelled = keys.filter(S3DeleteDocument.canSpell)
        let batched = spelled.count > 1 ? spelled : []
        let single = spelled.count > 1 ? keys.filter { !S3DeleteDocument.canSpell($0) } : keys
        var isPartlyDone = false
        do {
            for key in single {
                try await delete(key)
                isPartlyDone = true
            }
            for start in stride(from: 0, to: batched.count, by: S3DeleteDocument.keysMax) {
                try await deleteBatch(batched[start..<min(start + S3DeleteDocument.keysMax, batched.count)])
                isPartlyDone = true
            }
        } catch {
            // Even if the last request changed nothing, those before it did.
            throw ObjectStoreError(
                error.code, error.message, outcomeIsUnknown: error.outcomeIsUnknown || isPartlyDone,
                retryAfter: error.retryAfter, cause: error.cause)
        }
        return Mutation(eTag: nil, isSettled: true)
    }

    /// How large the answer to a mutation may be, in bytes: room for a thousand failures.
    private static let answerSizeMax = 4 << 20

    private func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
        let operation = S3Operation("delete", key, in: settings.endpoint.bucket, isMutation: true)
        var request = request(.delete, key)
        request.answerSizeMax = S3Client.answerSizeMax
        let response = try await send(request, for: operation)
        guard !(200..<300).contains(response.status) else { return }
        let refusal = refusal(response, to: operation)
        if !refusal.isNoSuchKey { throw refusal.objectStoreError }
    }

    private func deleteBatch(_ keys: ArraySlice<ObjectKey>) async throws(ObjectStoreError) {
        let operation = S3Operation(
            "delete \(keys.count) objects in bucket \"\(settings.endpoint.bucket)\"", isMutation: true)
        let document = S3DeleteDocument.request(deleting: keys)
        let body = document.withUnsafeBytes { BufferSlice(pool.copy($0)) }
        var request = S3Request(
            method: .post, path: settings.endpoint.bucketPath, query: [("delete", nil)], body: body,
            answerSizeMax: S3Client.answerSizeMax)
        request.add("content-type", "application/xml")
        request.add("content-md5", base64(Digest.md5.hash(document)))
        let response = try await send(request, for: operation)
        guard (200..<300).contains(response.status) else { throw refusal(response, to: operation).objectStoreError }
        let failures: [S3DeleteDocument.Failure]
        do {
            failures = try response.body.withBytes { bytes throws(XMLReader.Malformed) in
                try S3DeleteDocument.failures(parsing: bytes)
            }
        } catch {
            throw operation.malformed("the answer is not the result of a batch delete")
        }
        if let failure = failures.first(where: { $0.code != "NoSuchKey" }) { throw partial(failure, failures.count, operation) }
    }

    /// The error of a batch of which some keys failed: that of the first.
    private func partial(
        _ failure: S3DeleteDocument.Failure, _ count: Int, _ operation: S3Operation
    ) -> ObjectStoreError {
        let code: ObjectStoreError.Code =
            switch failure.code {
            case "AccessDenied": .forbidden
            case "SlowDown": .slowDown
            case "NotImplemented": .notImplemented
            default: .serverError
            }
        let words = S3ErrorDocument.legible("\(failure.code): \(failure.message)")
        let first = S3ErrorDocument.legible(failure.key)
        return operation.error(
            code, "the store refused \(count) of them, the first of which is \"\(first)\": \(words)",
            outcomeIsUnknown: true)
    }

    /// The headers by which the settings describe a new object.
    private func addObjectOptions(to request: inout S3Request) {
        if let access = settings.accessType { request.add("x-amz-acl", access.rawValue) }
        switch settings.serverSideEncryption {
        case nil: break
        case .aes256: request.add("x-amz-server-side-encryption", "AES256")
        case .kms(let keyID):
            request.add("x-amz-server-side-encryption", "aws:kms")
            request.add("x-amz-server-side-encryption-aws-kms-key-id", keyID)
        }
        if let storageClass = settings.storageClass { request.add("x-amz-storage-class", storageClass) }
    }
}
