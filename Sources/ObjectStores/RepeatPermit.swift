// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// A mutation that is about to be sent again.
public struct RepeatedMutation: Hashable, Sendable {
    /// What it changes; of several objects the first.
    public var key: ObjectKey
    /// When its last attempt failed, on the timeline of the ``RetryingObjectStore``.
    public var failedAt: Duration
    /// Whether one of its attempts got no answer or reached nobody: then we may have been away for longer than it seems.
    public var wasUnanswered: Bool
    /// When the last of its attempts ended that may still be carried out; nil when all others are certainly over.
    public var lastUnknownAt: Duration?

    /// Describes a mutation.
    public init(key: ObjectKey, failedAt: Duration, wasUnanswered: Bool, lastUnknownAt: Duration?) {
        self.key = key
        self.failedAt = failedAt
        self.wasUnanswered = wasUnanswered
        self.lastUnknownAt = lastUnknownAt
    }
}

/// Decides whether a mutation may be sent again, minutes perhaps after it was asked for.
///
/// It gets the store that the attempt would go to, for one request of its own, which is not retried: its failure takes the place
/// of the attempt's. It may wait; that is no part of the pauses of the ``RetryPolicy``.
///
/// - Throws: `.fenced` when it may not; any other failure counts as that of an attempt.
public typealias RepeatPermit =
    @Sendable (RepeatedMutation, any ObjectStore, IOContext) async throws(ObjectStoreError) -> Void
