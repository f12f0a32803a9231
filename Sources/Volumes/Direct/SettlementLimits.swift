// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How long and how much ``DirectVolume`` remembers about attempts that got no answer.
public struct SettlementLimits: Hashable, Sendable {
    /// How many attempt timeouts an unanswered attempt may still be on its way after it was given up.
    ///
    /// An attempt that was given up has its connection closed; what was not sent by then is never sent, and a body cut short is
    /// not stored, since it misses its Content-Length. What remains is a request that a proxy or the store has already got
    /// whole, and holds. Those bound their own waits by times of the order of ours; one timeout for the hop in front of the
    /// store and one for the store itself make two. (The outermost bound is the store's: a signed request is refused once its
    /// date is 15 minutes off. Waiting that long at each unmount after a timeout would be a surprise of its own.)
    public static let timeoutsUntilSettled = 2

    /// How long after its end an unanswered attempt may still change the object.
    public var window: Duration
    /// The bytes of blocks kept so that they can be written again; beyond, a write waits for its own confirmation.
    public var retainedBytesMax: Int
    /// The blocks watched, zeros included; beyond, a mutation waits for its own confirmation.
    public var watchedBlocksMax: Int

    /// Makes limits.
    public init(window: Duration, retainedBytesMax: Int, watchedBlocksMax: Int) {
        self.window = window
        self.retainedBytesMax = retainedBytesMax
        self.watchedBlocksMax = watchedBlocksMax
    }

    /// The limits for a store whose attempts end after `attemptTimeout`: 64 MiB or 65,536 blocks.
    public init(attemptTimeout: Duration) {
        self.init(
            window: attemptTimeout * Self.timeoutsUntilSettled, retainedBytesMax: 64 << 20, watchedBlocksMax: 1 << 16)
    }
}
