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
        request.answerSizeMax = S3Client.mutationAnswerSizeMax
        request.body = body
        if let encoding = metadata.contentEncoding { request.add("content-encoding", encoding) }
        if let type = metadata.contentType { request.add("content-type", type) }
        // A request signed with version 4 names the SHA-256 of its body, and the store checks that: a second digest would say no
        // more, and takes longer than the first.
        if !isPayloadSigned { request.add("content-md5", base64(body.withBytes { Digest.md5.hash($0) })) }
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
