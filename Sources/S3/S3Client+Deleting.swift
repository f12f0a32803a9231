// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
public import DataPath
internal import Logging
public import ObjectStores
internal import Synchronization

extension S3Client {
    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    ///
    /// One key is a DELETE, more are batches of at most 1000. XML cannot spell most control characters: such keys go alone. So
    /// do all, a few at once, from the moment the server shows that it has no batches: by refusing one (501, 405, 400) and
    /// accepting a single DELETE. Google's store is such a server.
    ///
    /// - Source: Amazon S3 API Reference, DeleteObject and DeleteObjects.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        var isBegun = false
        do {
            try await delete(keys, &isBegun)
        } catch {
            // Even if the last request changed nothing, those before it did.
            throw ObjectStoreError(
                error.code, error.message, outcomeIsUnknown: error.outcomeIsUnknown || isBegun,
                retryAfter: error.retryAfter, cause: error.cause)
        }
        return Mutation(eTag: nil, isSettled: true)
    }

    /// How large the answer to a mutation may be, in bytes: room for a thousand failures.
    static let mutationAnswerSizeMax = 4 << 20
    /// How many single deletes of one call are in flight at once.
    ///
    /// Few: the layer that limits the requests in flight counts the call as one.
    private static let singleDeletesInFlightMax = 8

    /// - Parameter isBegun: Becomes true with the first key that may be gone.
    private func delete(_ keys: [ObjectKey], _ isBegun: inout Bool) async throws(ObjectStoreError) {
        let spelled = keys.filter(S3DeleteDocument.canSpell)
        guard spelled.count > 1, !hasNoBatchDelete.load(ordering: .relaxed) else {
            return try await deleteSingly(keys[...], &isBegun)
        }
        try await deleteSingly(keys.filter { !S3DeleteDocument.canSpell($0) }[...], &isBegun)
        for start in stride(from: 0, to: spelled.count, by: S3DeleteDocument.keysMax) {
            let batch = spelled[start..<min(start + S3DeleteDocument.keysMax, spelled.count)]
            do {
                try await deleteBatch(batch)
                isBegun = true
            } catch {
                guard error.cause is BatchRefused else { throw error }
                try await acceptsSingleDelete(of: batch[start], insteadOf: error)
                isBegun = true
                return try await deleteSingly(spelled[(start + 1)...], &isBegun)
            }
        }
    }

    /// The server refused a batch in a way that may mean that it knows none.
    private struct BatchRefused: Error {}

    /// Deletes one key; if that is done, the server has refused batches as such.
    ///
    /// - Throws: The failure of the single request; `refusal` when that is a 400, too: then the batch was not the cause.
    private func acceptsSingleDelete(
        of key: ObjectKey, insteadOf refusal: ObjectStoreError
    ) async throws(ObjectStoreError) {
        do {
            try await delete(key)
        } catch {
            throw error.code == .badRequest ? refusal : error
        }
        let wasKnown = hasNoBatchDelete.exchange(true, ordering: .relaxed)
        if !wasKnown { logger.info("the store has no batch delete; deleting objects one by one") }
    }

    /// Deletes keys with a request each; after a failure none is begun any more.
    ///
    /// - Throws: The first failure to come, after the last request has ended.
    private func deleteSingly(
        _ keys: ArraySlice<ObjectKey>, _ isBegun: inout Bool
    ) async throws(ObjectStoreError) {
        guard !keys.isEmpty else { return }
        let (failure, doneCount, isUnknown) = await withTaskGroup(of: ObjectStoreError?.self) { group in
            var rest = keys.makeIterator()
            func beginNext() {
                guard let key = rest.next() else { return }
                group.addTask {
                    do throws(ObjectStoreError) {
                        try await self.delete(key)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            for _ in 0..<Self.singleDeletesInFlightMax { beginNext() }
            var first: ObjectStoreError?
            var doneCount = 0
            var isUnknown = false
            while let failure = await group.next() {
                if let failure {
                    first = first ?? failure
                    isUnknown = isUnknown || failure.outcomeIsUnknown
                } else {
                    doneCount += 1
                }
                if first == nil { beginNext() }
            }
            return (first, doneCount, isUnknown)
        }
        isBegun = isBegun || doneCount > 0 || isUnknown
        if let failure { throw failure }
    }

    private func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
        let operation = S3Operation("delete", key, in: settings.endpoint.bucket, isMutation: true)
        var request = request(.delete, key)
        request.answerSizeMax = S3Client.mutationAnswerSizeMax
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
            answerSizeMax: S3Client.mutationAnswerSizeMax)
        request.add("content-type", "application/xml")
        request.add("content-md5", base64(Digest.md5.hash(document)))
        let response = try await send(request, for: operation)
        guard (200..<300).contains(response.status) else {
            let error = refusal(response, to: operation).objectStoreError
            let isDoubtful = [.notImplemented, .badRequest].contains(error.code) || response.status == 405
            guard isDoubtful else { throw error }
            throw ObjectStoreError(error.code, error.message, outcomeIsUnknown: false, cause: BatchRefused())
        }
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
}
