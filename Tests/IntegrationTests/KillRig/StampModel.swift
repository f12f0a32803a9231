// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a disk of stamped sectors may hold after a crash, and must hold before one. Pure: no I/O, no threads, no clock.
///
/// A value of a sector is one write to it, with a generation that grows with each. The values from the last one that an fsync has
/// made durable up to the one in flight are legal after a crash; before it, only the last acknowledged one is. A write is on
/// its way between ``claim(_:)`` and ``release(_:)``; nobody else touches its sectors meanwhile, so there is an order.
struct StampModel: Sendable {
    /// One write to a sector.
    struct Value: Equatable, Sendable {
        /// Grows with each write to the sector; 0 is the fresh disk.
        let generation: UInt64
        /// Whether it was zeroed, in whichever way, instead of stamped.
        let isZero: Bool
    }

    /// The value of each sector at one moment, as far as it is not durable.
    struct Snapshot: Sendable {
        fileprivate var values: [Int: Value] = [:]
    }

    /// What was found and must not be.
    struct Violation: Sendable, CustomStringConvertible {
        /// What kind of wrong it is.
        enum Kind: String, Sendable {
            /// A value from before the last fsync.
            case older = "an older value"
            /// Zeros where no zeroing was legal.
            case zeros = "zeros"
            /// A value that must not be visible, for it was not found after an earlier crash or is not the newest.
            case unexpected = "a value that is not the one expected"
            /// Bytes of another sector.
            case misplaced = "another sector's bytes"
            /// No whole value at all.
            case mix = "a mix"
        }
        /// What kind of wrong it is.
        let kind: Kind
        /// Everything about it, for people.
        let description: String
    }

    private struct Sector: Sendable {
        var durable = Value(generation: 0, isZero: true)
        /// Values after the durable one, oldest first; the last may be in flight.
        var later: [Value] = []
        /// The last one acknowledged, or found after a crash.
        var current = Value(generation: 0, isZero: true)
        var issuedCount: UInt64 = 0
        var isClaimed = false
    }

    private var sectors: [Sector]
    /// The sectors with something in `later`.
    private var volatile: Set<Int> = []

    /// A fresh disk of so many sectors: zeros, and durable.
    init(sectorCount: Int) { sectors = Array(repeating: Sector(), count: sectorCount) }

    /// How many sectors there are.
    var sectorCount: Int { sectors.count }

    /// How many sectors have a value that no fsync covers.
    var volatileCount: Int { volatile.count }

    /// Takes the sectors for one operation.
    ///
    /// - Returns: Whether nobody else had one of them; otherwise nothing was taken.
    mutating func claim(_ range: Range<Int>) -> Bool {
        guard range.allSatisfy({ !sectors[$0].isClaimed }) else { return false }
        for index in range { sectors[index].isClaimed = true }
        return true
    }

    /// Gives claimed sectors back.
    mutating func release(_ range: Range<Int>) {
        for index in range { sectors[index].isClaimed = false }
    }

    /// A write of claimed sectors is about to begin.
    ///
    /// - Returns: The generation of each sector.
    mutating func issue(_ range: Range<Int>, isZero: Bool) -> [UInt64] {
        range.map { index in
            sectors[index].issuedCount += 1
            let value = Value(generation: sectors[index].issuedCount, isZero: isZero)
            sectors[index].later.append(value)
            volatile.insert(index)
            return value.generation
        }
    }

    /// The write that was issued last to these sectors was acknowledged.
    mutating func acknowledge(_ range: Range<Int>) {
        for index in range { sectors[index].current = sectors[index].later.last ?? sectors[index].durable }
    }

    /// Everything acknowledged so far: what an fsync that begins now covers.
    func snapshot() -> Snapshot {
        var snapshot = Snapshot()
        for index in volatile { snapshot.values[index] = sectors[index].current }
        return snapshot
    }

    /// An fsync that began after `snapshot` was taken has succeeded.
    mutating func synced(_ snapshot: Snapshot) {
        for (index, value) in snapshot.values {
            guard let position = sectors[index].later.firstIndex(of: value) else { continue }
            sectors[index].durable = value
            sectors[index].later.removeFirst(position + 1)
            if sectors[index].later.isEmpty { volatile.remove(index) }
        }
    }

    /// Demands of every write that was acknowledged what is else demanded of those which were fsynced.
    mutating func demandAcknowledged() { synced(snapshot()) }

    /// Looks at a sector that is claimed, on a disk that has not crashed: it must hold the newest value.
    func checkCurrent(_ found: SectorStamp.Contents, of index: Int) -> Violation? {
        let sector = sectors[index]
        if matches(found, sector.current) { return nil }
        return violation(found, of: index, legal: [sector.current])
    }

    /// Looks at a sector after a crash, and goes on from what was found: later values that were not found must not appear any more,
    /// earlier ones down to the durable one may, until the next fsync.
    mutating func checkAfterCrash(_ found: SectorStamp.Contents, of index: Int) -> Violation? {
        let sector = sectors[index]
        let legal = [sector.durable] + sector.later
        // Of several zeroings the latest is taken: nobody can tell them apart.
        guard let position = legal.lastIndex(where: { matches(found, $0) }) else {
            return violation(found, of: index, legal: legal)
        }
        sectors[index].current = legal[position]
        sectors[index].later = Array(legal[..<(position + 1)].dropFirst())
        if sectors[index].later.isEmpty { volatile.remove(index) }
        return nil
    }

    /// Gives up all claims: their owners died with the mount.
    mutating func releaseAll() { release(sectors.indices) }

    private func matches(_ found: SectorStamp.Contents, _ value: Value) -> Bool {
        switch found {
        case .zero: value.isZero
        case .generation(let generation): !value.isZero && value.generation == generation
        case .misplaced, .damaged: false
        }
    }

    private func violation(_ found: SectorStamp.Contents, of index: Int, legal: [Value]) -> Violation {
        let kind: Violation.Kind
        switch found {
        case .zero: kind = .zeros
        case .generation(let generation): kind = generation < legal[0].generation ? .older : .unexpected
        case .misplaced: kind = .misplaced
        case .damaged: kind = .mix
        }
        let words = legal.suffix(8).map { "\($0.generation)\($0.isZero ? " (zeros)" : "")" }.joined(separator: ", ")
        return Violation(
            kind: kind,
            description: "sector \(index) holds \(kind.rawValue): found \(found), legal are generations \(words)"
                + "; \(sectors[index].issuedCount) were written")
    }
}
