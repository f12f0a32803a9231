// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What was done to a ``StampedDisk``.
struct StampCounts: Sendable, CustomStringConvertible {
    /// Writes acknowledged, those of zeros included.
    var writes = 0
    /// Holes and zeroed ranges acknowledged.
    var zeroings = 0
    /// Reads compared with the newest value.
    var reads = 0
    /// fsyncs and closes that succeeded.
    var syncs = 0
    /// Sectors looked at after kills.
    var sectorsChecked = 0
    /// Sectors that had values no fsync covered when a kill came.
    var sectorsAtRisk = 0

    /// For a table.
    var description: String {
        "\(writes) writes, \(zeroings) zeroings, \(reads) reads, \(syncs) flushes, \(sectorsAtRisk) sectors at risk"
    }

    /// Adds those of another disk.
    mutating func add(_ other: StampCounts) {
        for path in [\StampCounts.writes, \.zeroings, \.reads, \.syncs, \.sectorsChecked, \.sectorsAtRisk] {
            self[keyPath: path] += other[keyPath: path]
        }
    }
}
