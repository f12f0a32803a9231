// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Why a request at the block waist, or at ``Disk``, failed.
///
/// Made once, where the cause is known; the layers above pass it on as it is.
public struct BlockStoreError: Error, CustomStringConvertible {
    /// What kind of failure it is; a front end maps it to its own codes (errno, NBD error).
    public enum Code: String, Sendable, CaseIterable {
        /// The store failed, or answered with something that makes no sense.
        case io
        /// What was read fails its check: wrong length, wrong digest, damaged metadata.
        case corrupt
        /// The store does not know the credentials (HTTP 401).
        case accessDenied
        /// The store refuses this to the credentials, or to the anonymous (HTTP 403).
        case forbidden
        /// The store answers with another version than the one asked for.
        case stale
        /// The volume is no longer ours: somebody else holds its mount token.
        case fenced
        /// The store has moved to another place (HTTP 301, 307 ...).
        case redirected
        /// No answer in time.
        case timedOut
        /// No connection to the store.
        case unreachable
        /// The store has no room.
        case noSpace
        /// Memory ran out below (libcurl said so).
        case outOfMemory
        /// A change was asked of what may only be read.
        case readOnly
        /// The byte range does not lie on the disk.
        case outOfRange
        /// The task that waited was cancelled.
        case cancelled
    }

    /// What kind of failure it is.
    public let code: Code
    /// What went wrong, in one line fit for a log: names block, object and cause, never a secret.
    public let message: String
    /// The failure below that led to this one.
    public let cause: (any Error)?

    /// Makes an error.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// The message.
    public var description: String { message }
}
