// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What comes of waiting.
extension BlockCache {
    /// What comes of waiting for a fetch.
    enum FetchAnswer: Sendable {
        /// The block may be held now: ask again.
        case startOver
        /// The block, for which there was no room.
        case contents(BlockContents)
        /// The block, nil if it is too old for what is held of it, and why the storage could not keep it.
        case unkept(BlockContents?, BlockStoreError)
        /// It could not be read.
        case failed(BlockStoreError)
    }

    /// What comes of waiting for room.
    enum RoomAnswer: Sendable {
        /// There is some: start over.
        case admitted
        /// Nothing is taken any more.
        case failed(BlockStoreError)
        /// The caller does not wait any more.
        case cancelled
    }

    /// What comes of waiting until a block's older slots are released.
    enum ReleaseAnswer: Sendable {
        /// They are.
        case released
        /// The storage could not record it.
        case failed(BlockStoreError)
        /// The caller does not wait any more.
        case cancelled
    }

    /// What comes of waiting for a flush.
    enum FlushAnswer: Sendable {
        /// The store has everything.
        case done
        /// The store, or the local disk, refuses for good.
        case failed(BlockStoreError)
        /// The time of the flush is over.
        case timedOut
        /// The caller does not wait any more.
        case cancelled
    }
}
