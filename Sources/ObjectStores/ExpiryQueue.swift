// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What will be forgotten, the oldest first; a key that was changed again stands there twice, and only its last stamp counts.
struct ExpiryQueue {
    private var items: [(key: ObjectKey, stamp: UInt64)] = []
    /// How many of `items` are gone at the front; removed in bulk, so that each costs constant time on average.
    private var goneCount = 0

    /// What is forgotten next, if its stamp still counts.
    var first: (key: ObjectKey, stamp: UInt64)? { goneCount < items.count ? items[goneCount] : nil }

    /// The first whose stamp counts.
    func first(where isLive: (ObjectKey, UInt64) -> Bool) -> (key: ObjectKey, stamp: UInt64)? {
        items[goneCount...].first { isLive($0.key, $0.stamp) }
    }

    /// Adds a key as the last to be forgotten.
    mutating func append(_ key: ObjectKey, _ stamp: UInt64) { items.append((key, stamp)) }

    /// Drops the first.
    mutating func removeFirst() {
        goneCount += 1
        guard goneCount > items.count / 2 else { return }
        items.removeFirst(goneCount)
        goneCount = 0
    }

    /// Drops what no longer counts, once that is most of it.
    mutating func compact(liveCount: Int, isLive: (ObjectKey, UInt64) -> Bool) {
        guard items.count - goneCount > 2 * liveCount + 16 else { return }
        items = items[goneCount...].filter { isLive($0.key, $0.stamp) }
        goneCount = 0
    }
}
