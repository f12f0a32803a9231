// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What becomes of blocks that the store does not have when a mount ends, and what the log says of it.
///
/// - Source: Docs/Semantics.md "The end".
enum UnsavedFate: Hashable, Sendable {
    /// They are only in memory.
    case lost
    /// The cache file has them, durably.
    case kept
    /// There is a cache file, but the local disk has failed: what it has may be older, or less.
    case doubtful

    /// What the log says while they are still being written, after a failed attempt.
    var lineWhileTrying: String {
        switch self {
        case .lost, .kept: "cannot write the last blocks yet; trying again, until a second signal ends this and loses them"
        case .doubtful:
            "cannot write the last blocks yet, and the local disk has failed; trying again, until a second signal ends this and "
                + "leaves what the cache file still has of them, which may be older"
        }
    }

    /// What the log says at the end.
    ///
    /// - Parameter isFenced: Whether the volume is somebody else's now.
    func lineAtEnd(isFenced: Bool) -> String {
        switch (self, isFenced) {
        case (.lost, _): "cannot write the last blocks to the store: they are lost"
        case (.doubtful, _):
            "cannot write the last blocks to the store, and the local disk has failed: what the cache file still has may be older; "
                + "the next mount with it asks for --recoverDirty"
        case (.kept, true):
            "cannot write the last blocks to the store: they stay in the cache file; a mount with this file is refused until "
                + "--recoverDirty says what to do with them"
        case (.kept, false):
            "cannot write the last blocks to the store: they stay in the cache file; the next mount with this file writes them"
        }
    }
}
