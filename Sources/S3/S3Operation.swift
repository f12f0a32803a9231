// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ObjectStores

/// What a request is for, in the user's words: the subject of every error message.
struct S3Operation: Sendable {
    /// Whether it changes something.
    let isMutation: Bool
    private let subject: Subject

    /// What the summary is made of, so that it is made for the few operations that fail.
    private enum Subject: Sendable {
        case object(verb: String, key: ObjectKey, bucket: String)
        case bucket(summary: String)
    }

    /// What could not be done, to what: `read object "disk/00000003" in bucket "b"`.
    var summary: String {
        switch subject {
        case .object(let verb, let key, let bucket):
            "\(verb) object \"\(S3ErrorDocument.legible(key.name))\" in bucket \"\(bucket)\""
        case .bucket(let summary): summary
        }
    }

    /// An operation on one object.
    ///
    /// - Parameter verb: `read`, `write`, `delete`, `look up`.
    init(_ verb: String, _ key: ObjectKey, in bucket: String, isMutation: Bool) {
        subject = .object(verb: verb, key: key, bucket: bucket)
        self.isMutation = isMutation
    }

    /// An operation on the bucket.
    init(_ summary: String, isMutation: Bool) {
        subject = .bucket(summary: summary)
        self.isMutation = isMutation
    }

    /// An error about it: `cannot SUMMARY: CAUSE`.
    func error(
        _ code: ObjectStoreError.Code, _ cause: String, outcomeIsUnknown: Bool, retryAfter: Duration? = nil,
        wrapping below: (any Error)? = nil
    ) -> ObjectStoreError {
        ObjectStoreError(
            code, "cannot \(summary): \(cause)", outcomeIsUnknown: outcomeIsUnknown && isMutation, retryAfter: retryAfter,
            cause: below)
    }

    /// An answer that cannot be believed; what it answered may nevertheless have been done.
    func malformed(_ cause: String) -> ObjectStoreError { error(.malformedAnswer, cause, outcomeIsUnknown: true) }

    /// No whole answer came.
    func error(_ failure: HTTPTransportError) -> ObjectStoreError {
        let code: ObjectStoreError.Code =
            switch failure.kind {
            case .timedOut: .timedOut
            case .connectFailed: .connectFailed
            case .hostUnknown: .hostUnknown
            case .outOfMemory: .outOfMemory
            case .connectionLost, .other: .connectionLost
            case .malformedAnswer: .malformedAnswer
            case .cancelled: .cancelled
            }
        return error(code, failure.description, outcomeIsUnknown: failure.mayHaveBeenSent, wrapping: failure)
    }
}
