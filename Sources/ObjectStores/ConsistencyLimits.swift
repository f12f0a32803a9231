// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How much a ``ConsistencyGuard`` remembers, and for how long.
///
/// - Source: the options `--md5CacheSize`, `--md5CacheTime` and `--minWriteDelay`.
public struct ConsistencyLimits: Hashable, Sendable {
    /// The most objects that are remembered at once; a change of a further one waits until the oldest is forgotten.
    public let objectsMax: Int
    /// How long after its last change an object is remembered: at least as long as the store may answer with older versions.
    /// Nil is for ever; `objectsMax` must then be enough for all objects that are ever changed.
    public let keptFor: Duration?
    /// The least time between two changes of one object, and between a change without an answer and the next read.
    public let minWriteDelay: Duration

    /// Makes limits; `objectsMax` is at least 1, and no duration is negative.
    public init(objectsMax: Int, keptFor: Duration?, minWriteDelay: Duration) {
        precondition(objectsMax >= 1, "a guard that remembers nothing is of no use")
        precondition(keptFor.map { $0 > .zero } ?? true, "what is remembered is remembered for some time")
        precondition(minWriteDelay >= .zero, "a delay is never negative")
        self.objectsMax = objectsMax
        self.keptFor = keptFor
        self.minWriteDelay = minWriteDelay
    }
}
