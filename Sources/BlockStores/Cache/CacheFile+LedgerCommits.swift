// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension CacheFile.Ledger {
    /// A commit begins: all that returned before is covered by it.
    ///
    /// - Returns: Its number, for ``endCommit(_:)``.
    mutating func beginCommit() -> UInt64 {
        precondition(rewriteCount == 0, "a version that is being overwritten cannot be promised")
        isSyncWanted = false
        hasNews = false
        forgotten = (BlockSet(), forgotten.before.union(forgotten.now))
        defer { round += 1 }
        return round
    }

    /// A commit has succeeded.
    ///
    /// - Returns: The spares that were left for good, and whose records have to be erased before they can be used again.
    mutating func endCommit(_ number: UInt64) -> [(key: Int, location: Int)] {
        for (key, version) in fresh where version.round <= number { protected[key] = version.isUser }
        fresh = fresh.filter { $0.value.round > number }
        forgotten.before = BlockSet()
        for (slot, mark) in cleaning where mark.round <= number { clean(slot, mark) }
        cleaning = cleaning.filter { $0.value.round > number }
        freeSpares += retired.lazy.filter { $0.round <= number }.map(\.location)
        retired.removeAll { $0.round <= number }
        for (key, old) in erasing where old.round <= number {
            if old.location >= layout.homeCount { freeSpares.append(old.location) }
            shadowed[key] = shadowed[key].flatMap { $0 > 1 ? $0 - 1 : nil }
        }
        erasing.removeAll { $0.1.round <= number }
        replaced = replaced.filter { $0.value.round > number }
        unsettled = unsettled.filter { $0.value > number }
        return endLeaving(number)
    }

    private mutating func clean(_ slot: Int, _ mark: CacheFile.Ledger.Cleaning) {
        // Assigned again, or written again.
        guard bases[slot] == mark.base, lastUser[slot] <= mark.mark else { return }
        for key in layout.homes(of: slot) { protected[key] = false }
    }

    private mutating func endLeaving(_ number: UInt64) -> [(key: Int, location: Int)] {
        var erasable: [(key: Int, location: Int)] = []
        for (key, places) in left {
            let rest = places.filter { $0.round > number }
            guard rest.count < places.count else { continue }
            left[key] = rest.isEmpty ? nil : rest
            for place in places where place.round <= number {
                if place.location == key {
                    held.remove(key)
                } else {
                    shadowed[key, default: 0] += 1
                    erasable.append((key, place.location))
                }
            }
        }
        // In the order of the disk; and the same each time, so that a test can be repeated.
        return erasable.sorted { $0.location < $1.location }
    }
}
