// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// One request on its way through its attempts: when to pause, how long, when to give up. No clock, no I/O, no randomness.
///
/// ```
///   attempt --failed--> isRetried? --no--------------------> fail at once
///      ^                    | yes
///      |                    v
///      +--- pause ---- time left? --no---------------------> give up
/// ```
struct RetryStateMachine {
    /// What to do after a failed attempt.
    enum Action: Hashable {
        /// Wait so long, then try again.
        case retry(after: Duration)
        /// Trying again cannot help, or would be wrong.
        case failAtOnce
        /// The time is used up.
        case giveUp
    }

    /// What is known about the store at the moment of a failure.
    struct Circumstances {
        /// Whether some request has succeeded on this store: credentials, bucket and region are right then.
        var hasSucceeded: Bool
        /// Whether requests carry a signature.
        var isSigned: Bool
        /// 0 ..< 1; spreads the attempts of many clients.
        var jitter: Double
    }

    private let policy: RetryPolicy
    private var nextPause: Duration
    /// How far the schedule without jitter has come. At most `policy.totalPauseMax`, and never less than `paused`.
    private var scheduled: Duration = .zero

    /// The number of the attempt that runs, or ran last; the first is 1.
    private(set) var attempt = 1
    /// The sum of the pauses.
    private(set) var paused: Duration = .zero
    /// Whether some attempt ended without an answer, so that it may still reach the store.
    private(set) var hasUnansweredAttempt = false

    /// Begins a request with its first attempt.
    init(policy: RetryPolicy) {
        self.policy = policy
        nextPause = policy.initialPause
    }

    /// Takes note of a failed attempt and decides.
    mutating func failed(_ error: ObjectStoreError, _ circumstances: Circumstances) -> Action {
        hasUnansweredAttempt = hasUnansweredAttempt || error.outcomeIsUnknown
        guard Self.isRetried(error.code, circumstances) else { return .failAtOnce }
        guard scheduled < policy.totalPauseMax else { return .giveUp }
        attempt += 1
        return .retry(after: pause(retryAfter: error.retryAfter, jitter: circumstances.jitter))
    }

    /// Takes the next pause.
    ///
    /// Jitter makes an attempt come up to half of its pause *earlier* than the schedule without jitter has it, and leaves the
    /// schedule as it is: the number of attempts stays the same, and the pauses never sum to more than `totalPauseMax`.
    /// Retry-After lengthens a pause, up to what is left, and moves the schedule on.
    private mutating func pause(retryAfter: Duration?, jitter: Double) -> Duration {
        let step = min(nextPause, policy.totalPauseMax - scheduled)
        nextPause = min(nextPause * 2, policy.totalPauseMax)
        scheduled += step
        var pause = max(scheduled - step * (jitter / 2) - paused, .zero)
        if let retryAfter { pause = max(pause, min(retryAfter, policy.totalPauseMax - paused)) }
        paused += pause
        scheduled = max(scheduled, paused)
        return pause
    }

    /// Whether another attempt may help.
    ///
    /// Wrong credentials, a wrong bucket, region or server, a refused function or a skewed clock do not mend themselves: the user
    /// must know at once. But after a first success they are known to be right, and the answer is one of the sporadic ones that
    /// providers give; a file system must survive those.
    private static func isRetried(_ code: ObjectStoreError.Code, _ circumstances: Circumstances) -> Bool {
        switch code {
        case .preconditionFailed, .cancelled, .noSpace, .fenced: false
        // Without a signature, S3 says 403 for every missing key of a bucket that may not be listed.
        case .forbidden: circumstances.isSigned && circumstances.hasSucceeded
        case .badRequest, .unauthorized, .notImplemented, .clockSkewed, .noSuchBucket, .redirected, .notS3:
            circumstances.hasSucceeded
        case .slowDown, .serverError, .unexpectedStatus, .malformedAnswer, .timedOut, .connectFailed, .hostUnknown,
            .connectionLost, .outOfMemory, .io, .stale:
            true
        }
    }
}
