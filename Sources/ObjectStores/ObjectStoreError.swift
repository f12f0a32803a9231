// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Why a request at the object waist failed.
public struct ObjectStoreError: Error, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: String, Sendable, CaseIterable {
        /// The bucket, or the directory of the local store, does not exist.
        case noSuchBucket
        /// The credentials are not known or the signature is wrong (401; also 403 InvalidAccessKeyId, SignatureDoesNotMatch).
        case unauthorized
        /// Not allowed (403). Unsigned, it may also mean a missing key in a bucket that may not be listed.
        case forbidden
        /// The request's date is too far from the server's (403 RequestTimeTooSkewed).
        case clockSkewed
        /// `ifMatch` or a ``PutCondition`` does not hold (412, or 409 ConditionalRequestConflict).
        case preconditionFailed
        /// The store answered with a state of the object that is known to be older than the last one written or deleted.
        case stale
        /// The object lives elsewhere (301, 302, 307, 308).
        case redirected
        /// The store asks for fewer requests (503 SlowDown, 429).
        case slowDown
        /// The store failed (5xx other than SlowDown and 501).
        case serverError
        /// The store has not got this function (501).
        case notImplemented
        /// The store refuses the request as malformed (400).
        case badRequest
        /// Any other 3xx or 4xx.
        case unexpectedStatus
        /// A whole answer of a server that is not S3, or stands in front of it: HTML, a 404 without S3's document.
        case notS3
        /// An answer that is not whole or makes no sense: broken XML, a truncated body, a missing header.
        case malformedAnswer
        /// No answer within the time limits.
        case timedOut
        /// The connection was refused or could not be made.
        case connectFailed
        /// The host name could not be resolved.
        case hostUnknown
        /// The connection broke in the middle, or TLS failed.
        case connectionLost
        /// The library ran out of memory.
        case outOfMemory
        /// The local store's disk is full.
        case noSpace
        /// The local store failed in another way.
        case io
        /// Not sent again: whoever asked for the change may not change the store any more. See ``RepeatPermit``.
        case fenced
        /// The task was cancelled.
        case cancelled
    }

    /// What kind of failure it is.
    public let code: Code
    /// What went wrong, in one line fit for a log: names key, status and the store's own Code and Message; never a secret.
    public let message: String
    /// How long the store asks to wait before the next attempt (Retry-After); nil when it did not say.
    public let retryAfter: Duration?
    /// Whether a mutation may have happened, or may happen yet, although it failed: it was sent, and no answer came.
    public let outcomeIsUnknown: Bool
    /// The failure below that led to this one.
    public let cause: (any Error)?

    /// Makes an error.
    public init(
        _ code: Code, _ message: String, outcomeIsUnknown: Bool, retryAfter: Duration? = nil, cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.outcomeIsUnknown = outcomeIsUnknown
        self.retryAfter = retryAfter
        self.cause = cause
    }

    /// The message.
    public var description: String { message }
}
