// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How long the end of a mount waits for a store that does not take what the cache still holds; pure.
///
///     waiting --less is left than before--> waiting, the clock starts anew
///     waiting --a signal, the only one-->   waiting, told what another one would do
///     waiting --another signal-->           ended
///     waiting --no progress for `patience`, and the data outlives the process--> ended
///
/// Data that is only in memory is waited for without end: whoever wants to lose it has to say so twice. A signal that ended the
/// mount itself counts as the first.
struct WriteBackWatch {
    /// What is to be done now.
    enum Action: Hashable, Sendable {
        /// Nothing.
        case wait
        /// Say how many blocks are left.
        case tell
        /// End the wait.
        case end
    }

    /// How long nothing must have moved before a wait ends for which nothing is lost.
    static let patience = Duration.seconds(120)
    /// The least time between two lines of the log.
    static let tellInterval = Duration.seconds(30)

    private var signalCount: Int
    private var leastCount = Int.max
    private var progressAt: Duration
    private var toldAt: Duration

    /// Begins to wait.
    ///
    /// - Parameter wasSignalled: Whether a signal has ended the mount.
    init(wasSignalled: Bool, now: Duration) {
        signalCount = wasSignalled ? 1 : 0
        progressAt = now
        toldAt = now
    }

    /// Looks how many blocks are left.
    ///
    /// - Parameter outlivesProcess: Whether these stay in the cache file; that may end at any time.
    mutating func look(count: Int, outlivesProcess: Bool, now: Duration) -> Action {
        if count < leastCount {
            leastCount = count
            progressAt = now
        }
        guard count > 0 else { return .wait }
        if outlivesProcess, now - progressAt >= Self.patience { return .end }
        guard now - toldAt >= Self.tellInterval else { return .wait }
        toldAt = now
        return .tell
    }

    /// Takes note of a signal.
    ///
    /// - Parameter count: How many blocks are left. With none, only late attempts are waited for, and one signal ends that.
    mutating func signal(count: Int, now: Duration) -> Action {
        signalCount += 1
        guard count > 0, signalCount == 1 else { return .end }
        toldAt = now
        return .tell
    }
}
