// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a disk may hold, now and after a crash: for each unit of it the values that it was given, and when.
///
/// A value is a stamp; zero is zeros. One mutation is *before* another if it had returned when the other began. Two floors
/// divide the values of a unit: no read may give a value that is before the last one *acknowledged*, and no crash may bring back
/// one that is before the last one *durable*.
struct CacheFileSimulationModel: Sendable {
    private struct Value: Sendable {
        let stamp: UInt64
        let began: Int
        /// Nil while it runs.
        var ended: Int?
    }

    /// Which values may still be there: by unit, the moment before which none may have ended.
    struct Floor: Sendable {
        fileprivate let first: Int
        fileprivate var moments: [Int]
    }

    private var values: [[Value]]
    private var acknowledged: [Int]
    private var durable: [Int]
    /// When the value began that is in the store; -1 when that is not known.
    private var stored: [Int]
    private var clock = 0
    /// Whether the process is dead: nothing that comes after counts.
    var isFrozen = false

    /// A disk of zeros.
    init(unitCount: Int) {
        values = Array(repeating: [Value(stamp: 0, began: 0, ended: 0)], count: unitCount)
        acknowledged = Array(repeating: 0, count: unitCount)
        durable = acknowledged
        stored = acknowledged
    }

    var unitCount: Int { values.count }

    // MARK: Mutations

    /// Each unit of `range` is to get its stamp.
    ///
    /// - Returns: The mutation's number.
    mutating func begin(_ range: Range<Int>, _ stamps: [UInt64]) -> Int {
        clock += 1
        guard !isFrozen else { return clock }
        for (unit, stamp) in zip(range, stamps) { values[unit].append(Value(stamp: stamp, began: clock, ended: nil)) }
        return clock
    }

    /// The mutation has returned.
    ///
    /// - Parameter succeeded: Else it may have been done or not.
    mutating func end(_ number: Int, _ range: Range<Int>, succeeded: Bool) {
        guard !isFrozen else { return }
        clock += 1
        for unit in range {
            guard let index = values[unit].lastIndex(where: { $0.began == number }) else { continue }
            values[unit][index].ended = clock
            if succeeded { acknowledged[unit] = max(acknowledged[unit], number) }
        }
    }

    // MARK: Questions

    /// What has been acknowledged so far.
    func floor(_ range: Range<Int>) -> Floor { Floor(first: range.lowerBound, moments: Array(acknowledged[range])) }
    /// What has been made durable so far.
    var durableFloor: Floor { Floor(first: 0, moments: durable) }
    /// What a kill leaves: all that was acknowledged, but in sectors that are just being written, where what was not durable may be half
    /// overwritten.
    ///
    /// - Parameter units: Of a sector.
    func killFloor(sector units: Int) -> Floor {
        var moments = acknowledged
        for first in stride(from: 0, to: values.count, by: units) {
            let sector = first..<first + units
            let isWritten = sector.contains { unit in values[unit].contains { $0.ended == nil } }
            if isWritten { moments.replaceSubrange(sector, with: durable[sector]) }
        }
        return Floor(first: 0, moments: moments)
    }

    /// What had been acknowledged is durable.
    mutating func noteFlushed(_ floor: Floor) {
        guard !isFrozen else { return }
        for (offset, moment) in floor.moments.enumerated() {
            durable[floor.first + offset] = max(durable[floor.first + offset], moment)
        }
    }

    /// What is wrong with `stamps` as the units from the floor's first one on; nil when nothing is.
    func fault(in stamps: [UInt64], _ floor: Floor) -> String? {
        for (offset, stamp) in stamps.enumerated() {
            let unit = floor.first + offset
            let isAllowed = values[unit].contains { $0.stamp == stamp && ($0.ended ?? .max) >= floor.moments[offset] }
            if !isAllowed {
                let story = values[unit].map { "\($0.stamp) \($0.began)...\($0.ended.map { "\($0)" } ?? "")" }
                return "unit \(unit) holds \(stamp); nothing before \(floor.moments[offset]) may be left of \(story.suffix(12))"
            }
        }
        return nil
    }

    /// The store is given `stamps` as the units from `first` on.
    ///
    /// - Returns: What is wrong with that: it goes back to what was before what it has; nil when nothing is.
    mutating func store(_ stamps: [UInt64], from first: Int, over old: [UInt64]) -> String? {
        for (offset, (new, old)) in zip(stamps, old).enumerated() where new != old {
            let unit = first + offset
            let moments = values[unit].filter { $0.stamp == new && ($0.ended ?? .max) >= stored[unit] }.map(\.began)
            guard let moment = moments.min() else { return "unit \(unit) of the store goes back from \(old) to \(new)" }
            stored[unit] = moment
        }
        return nil
    }

    /// It is not known which values the store has as these units.
    mutating func forgetStored(_ units: Range<Int>) {
        for unit in units { stored[unit] = -1 }
    }

    // MARK: Lives

    /// A crash, or an end: from now on the disk holds `stamps`.
    ///
    /// - Parameter isDurable: Whether another crash cannot take that away; else what came before may come back until the file is put right.
    mutating func begin(anew stamps: [UInt64], isDurable: Bool) {
        isFrozen = false
        stored = Array(repeating: -1, count: unitCount)
        clock += 1
        for unit in values.indices {
            for index in values[unit].indices where values[unit][index].ended == nil { values[unit][index].ended = clock }
        }
        clock += 1
        for (unit, stamp) in stamps.enumerated() {
            values[unit].append(Value(stamp: stamp, began: clock, ended: clock))
            acknowledged[unit] = clock
            if isDurable {
                values[unit].removeFirst(values[unit].count - 1)
                durable[unit] = clock
            }
        }
    }

    /// The file was put right after a crash.
    mutating func noteRestored() {
        guard !isFrozen else { return }
        for unit in values.indices {
            durable[unit] = acknowledged[unit]
            values[unit].removeAll { ($0.ended ?? .max) < durable[unit] }
        }
    }
}
