// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A set of keys in their order, for those between two of them.
///
/// Runs of at most a few hundred keys, each sorted and all of them in order: adding one moves at most a run and the list of runs.
struct SortedKeys: Sendable {
    private static let runMax = 512

    /// None is empty.
    private var runs: [[ObjectKey]] = []

    /// Adds a key that is not there.
    mutating func insert(_ key: ObjectKey) {
        guard !runs.isEmpty else {
            runs.append([key])
            return
        }
        // The last run that begins before it, or the first of all.
        let index = max(0, partition(runs.indices) { runs[$0][0] > key } - 1)
        runs[index].insert(key, at: partition(runs[index].indices) { runs[index][$0] > key })
        guard runs[index].count > Self.runMax else { return }
        let upper = Array(runs[index][(Self.runMax / 2)...])
        runs[index].removeLast(upper.count)
        runs.insert(upper, at: index + 1)
    }

    /// Removes a key that is there.
    mutating func remove(_ key: ObjectKey) {
        let index = partition(runs.indices) { runs[$0][0] > key } - 1
        guard index >= 0 else { preconditionFailure("only what is there is removed") }
        let place = partition(runs[index].indices) { runs[index][$0] >= key }
        precondition(place < runs[index].count && runs[index][place] == key, "only what is there is removed")
        runs[index].remove(at: place)
        if runs[index].isEmpty { runs.remove(at: index) }
    }

    /// Calls `body` with the keys from `first` on, in order, until it returns false.
    func forEach(from first: ObjectKey, _ body: (ObjectKey) -> Bool) {
        var index = max(0, partition(runs.indices) { runs[$0][0] > first } - 1)
        guard index < runs.count else { return }
        var place = partition(runs[index].indices) { runs[index][$0] >= first }
        while index < runs.count {
            while place < runs[index].count {
                guard body(runs[index][place]) else { return }
                place += 1
            }
            index += 1
            place = 0
        }
    }

    /// The first of `indices` for which `isAbove` holds; it holds for all that follow. Their end, if there is none.
    private func partition(_ indices: Range<Int>, _ isAbove: (Int) -> Bool) -> Int {
        var (lower, upper) = (indices.lowerBound, indices.upperBound)
        while lower < upper {
            let middle = (lower + upper) / 2
            if isAbove(middle) { upper = middle } else { lower = middle + 1 }
        }
        return lower
    }
}
