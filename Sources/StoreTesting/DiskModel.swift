// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a disk may answer: a reference model for tests with failing and overlapping requests.
///
/// Each sector has the values that a read may return. A mutation adds its value when it begins, since a read beside it may see
/// it; when it has succeeded, every value whose mutation had ended before this one *began* is gone. A mutation that failed
/// has an indeterminate outcome: its value stays possible until a later mutation of the sector succeeds.
///
/// Sectors are independent here, so the model also allows a failed request of which some sectors are new and some old.
///
/// A value type without I/O: the test calls `begin…` before it asks the disk, and `end…` with the answer.
public struct DiskModel: Sendable {
    /// A mutation under way.
    public struct MutationTicket: Sendable, Hashable {
        fileprivate let number: Int
    }

    /// A read under way.
    public struct ReadTicket: Sendable {
        fileprivate let began: Int
        fileprivate let sectors: Range<Int>
    }

    private struct Candidate: Sendable {
        /// Its number, which is the moment when it began.
        let mutation: Int
        let bytes: [UInt8]
        /// When the mutation returned; nil while it runs.
        var ended: Int?
        /// When a later mutation replaced it; reads that had begun before may still return it.
        var replaced: Int?
    }

    /// The bytes of each sector: the unit in which the model thinks, and to which all requests are aligned.
    public let sectorSizeBytes: Int

    private var sectors: [[Candidate]]
    /// The sectors of each mutation that runs.
    private var running: [Int: Range<Int>] = [:]
    private var reads: [Int] = []
    private var clock = 0

    /// Makes a model of a disk of zeros.
    public init(sizeBytes: Int, sectorSizeBytes: Int) {
        precondition(sizeBytes % sectorSizeBytes == 0, "a disk has whole sectors")
        self.sectorSizeBytes = sectorSizeBytes
        let zeros = Candidate(mutation: 0, bytes: [UInt8](repeating: 0, count: sectorSizeBytes), ended: 0, replaced: nil)
        sectors = [[Candidate]](repeating: [zeros], count: sizeBytes / sectorSizeBytes)
    }

    /// A mutation that makes the bytes from `offset` on `bytes` is about to be asked for.
    public mutating func beginWrite(_ bytes: [UInt8], at offset: Int) -> MutationTicket {
        let touched = sectorRange(offset..<offset + bytes.count)
        clock += 1
        for sector in touched {
            let start = sector * sectorSizeBytes - offset
            let part = Array(bytes[start..<start + sectorSizeBytes])
            sectors[sector].append(Candidate(mutation: clock, bytes: part, ended: nil, replaced: nil))
        }
        running[clock] = touched
        return MutationTicket(number: clock)
    }

    /// Zeroing of `range` is about to be asked for.
    public mutating func beginZero(_ range: Range<Int>) -> MutationTicket {
        beginWrite([UInt8](repeating: 0, count: range.count), at: range.lowerBound)
    }

    /// A mutation has returned.
    ///
    /// - Parameter succeeded: False when it threw: then its outcome is indeterminate.
    public mutating func endMutation(_ ticket: MutationTicket, succeeded: Bool) {
        guard let touched = running.removeValue(forKey: ticket.number) else {
            preconditionFailure("a mutation ends once, after it began")
        }
        clock += 1
        let oldestRead = reads.min() ?? clock
        for sector in touched {
            for index in sectors[sector].indices {
                let candidate = sectors[sector][index]
                if candidate.mutation == ticket.number {
                    sectors[sector][index].ended = clock
                } else if succeeded, candidate.replaced == nil, let ended = candidate.ended, ended < ticket.number {
                    sectors[sector][index].replaced = clock
                }
            }
            sectors[sector].removeAll { $0.replaced.map { $0 <= oldestRead } ?? false }
        }
    }

    /// A read of `range` is about to be asked for.
    public mutating func beginRead(_ range: Range<Int>) -> ReadTicket {
        clock += 1
        reads.append(clock)
        return ReadTicket(began: clock, sectors: sectorRange(range))
    }

    /// A read of a part of another one, which goes on, as if it had begun at the same time.
    ///
    /// - Parameter range: Within the other read.
    public mutating func part(of ticket: ReadTicket, _ range: Range<Int>) -> ReadTicket {
        reads.append(ticket.began)
        return ReadTicket(began: ticket.began, sectors: sectorRange(range))
    }

    /// A read has returned `bytes`, or failed.
    ///
    /// - Parameter bytes: What it returned; nil when it threw, which is always allowed here.
    /// - Returns: What is wrong with the answer; nil when it is one that the disk may give.
    public mutating func endRead(_ ticket: ReadTicket, _ bytes: [UInt8]?) -> String? {
        if let index = reads.firstIndex(of: ticket.began) { reads.remove(at: index) }
        guard let bytes else { return nil }
        guard bytes.count == ticket.sectors.count * sectorSizeBytes else { return "\(bytes.count) bytes were read" }
        for (index, sector) in ticket.sectors.enumerated() {
            let found = bytes[index * sectorSizeBytes..<(index + 1) * sectorSizeBytes]
            let isAllowed = sectors[sector].contains { candidate in
                (candidate.replaced ?? .max) > ticket.began && candidate.bytes.elementsEqual(found)
            }
            if !isAllowed {
                return "sector \(sector) holds \(Set(found).sorted().prefix(4))..., which none of the "
                    + "\(sectors[sector].count) possible mutations wrote"
            }
        }
        return nil
    }

    /// How many values a read of this sector may return at present; 1 when it is certain.
    public func valueCount(ofSector sector: Int) -> Int {
        Set(sectors[sector].filter { $0.replaced == nil }.map(\.bytes)).count
    }

    private func sectorRange(_ bytes: Range<Int>) -> Range<Int> {
        precondition(
            bytes.lowerBound % sectorSizeBytes == 0 && bytes.count % sectorSizeBytes == 0, "requests are made of whole sectors")
        return bytes.lowerBound / sectorSizeBytes..<bytes.upperBound / sectorSizeBytes
    }
}
