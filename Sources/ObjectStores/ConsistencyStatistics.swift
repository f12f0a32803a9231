// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a ``ConsistencyGuard`` has counted, and how much it remembers at present.
public struct ConsistencyStatistics: Hashable, Sendable {
    /// The objects that are remembered.
    public var currentSize = 0
    /// Requests answered without the store: the object is known to be deleted.
    public var dataHits: UInt64 = 0
    /// How long changes have waited for room.
    public var fullDelays: Duration = .zero
    /// How long changes have waited because the last change of the same object was too recent.
    public var writeDelays: Duration = .zero
    /// Answers that were older than what is known, and were not believed.
    public var staleAnswers: UInt64 = 0
    /// Those of ``staleAnswers`` in which the store itself said so: with 412 to an `If-Match`.
    public var refusals: UInt64 = 0

    /// Makes counters at zero.
    public init() {}
}
