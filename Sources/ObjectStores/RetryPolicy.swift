// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How long a request is tried again.
///
/// The pauses double, and the last one is cut so that they sum to exactly ``totalPauseMax``: with 200 ms and 30 s they are 200,
/// 400, 800, 1600, 3200, 6400, 12800 and 4600 ms, nine attempts in all.
public struct RetryPolicy: Hashable, Sendable {
    /// The first pause; less than a millisecond counts as one, so that doubling leads somewhere.
    public var initialPause: Duration
    /// What all pauses of one request sum to at most; zero: one attempt only.
    public var totalPauseMax: Duration

    /// Makes a policy.
    public init(initialPause: Duration, totalPauseMax: Duration) {
        precondition(initialPause >= .zero && totalPauseMax >= .zero, "a pause is never negative")
        self.initialPause = max(initialPause, .milliseconds(1))
        self.totalPauseMax = totalPauseMax
    }
}

/// What a ``RetryingObjectStore`` has counted.
public struct RetryStatistics: Hashable, Sendable {
    /// Attempts after the first one.
    public var retries: UInt64 = 0
    /// The sum of the pauses before them.
    public var retryDelay: Duration = .zero
    /// Requests that failed although the whole time was used.
    public var givenUp: UInt64 = 0

    /// Makes counters at zero.
    public init() {}
}
