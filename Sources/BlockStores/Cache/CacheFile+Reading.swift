// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

extension CacheFile {
    /// See ``CacheStorage/read(_:of:in:into:)``.
    public func read(
        _ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, into target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) {
        precondition(target.count == range.count, "the target is as long as the range")
        let size = layout.sectorSize
        let outer = range.lowerBound / size * size..<(range.upperBound + size - 1) / size * size
        for piece in pieces(of: outer) {
            let inner = piece.clamped(to: range)
            let part = target.part(inner.lowerBound - range.lowerBound, inner.count)
            if inner == piece {
                try readSectors(piece, block, slot, part)
            } else {
                try withScratch(piece.count) { whole throws(BlockStoreError) in
                    try readSectors(piece, block, slot, whole)
                    part.copyMemory(from: UnsafeRawBufferPointer(whole).part(inner.lowerBound - piece.lowerBound, inner.count))
                }
            }
        }
    }

    private func readSectors(
        _ range: Range<Int>, _ block: BlockNumber, _ slot: CacheSlot, _ target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) {
        let sectors = range.lowerBound / layout.sectorSize..<range.upperBound / layout.sectorSize
        var locations = try currentLocations(sectors, block, slot)
        while true {
            guard let bad = try read(locations, sectors, block, slot, target) else { return }
            // A sector may be brought home, and its old location be taken by another, while it is read.
            let now = try currentLocations(sectors, block, slot)
            guard now != locations else {
                throw BlockStoreError(
                    .corrupt, "cannot read sector \(bad) of block \(block) from the cache file: its check fails")
            }
            locations = now
        }
    }

    private func currentLocations(
        _ sectors: Range<Int>, _ block: BlockNumber, _ slot: CacheSlot
    ) throws(BlockStoreError) -> [Int] {
        let first = layout.homes(of: Int(slot.rawValue)).lowerBound
        let locations = state.withLock { state in
            sectors.map { state.ledger.written[first + $0] ? state.ledger.location(of: first + $0) : -1 }
        }
        guard let missing = locations.firstIndex(of: -1) else { return locations }
        let sector = sectors.lowerBound + missing
        throw BlockStoreError(.corrupt, "cannot read sector \(sector) of block \(block) from the cache file: it is not there")
    }

    /// Reads and checks sectors.
    ///
    /// - Returns: One that fails its check, or nil.
    private func read(
        _ locations: [Int], _ sectors: Range<Int>, _ block: BlockNumber, _ slot: CacheSlot,
        _ target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) -> Int? {
        let size = layout.sectorSize
        return try withScratch(locations.count * CacheFileLayout.recordSize) { records throws(BlockStoreError) -> Int? in
            for run in Self.runs(of: locations) {
                let location = locations[run.lowerBound]
                try disk.read(into: target.part(run.lowerBound * size, run.count * size), at: layout.dataOffset(location))
                try disk.read(
                    into: records.part(run.lowerBound * CacheFileLayout.recordSize, run.count * CacheFileLayout.recordSize),
                    at: layout.recordOffset(location))
            }
            for index in locations.indices {
                let bytes = UnsafeRawBufferPointer(records).part(
                    index * CacheFileLayout.recordSize, CacheFileLayout.recordSize)
                let stored = target.part(index * size, size)
                guard let record = CacheFileRecord(bytes, seed: seed), record.block == block, record.slot == slot.rawValue,
                    Int(record.sector) == sectors.lowerBound + index,
                    seal.open(UnsafeRawBufferPointer(stored), record, into: stored)
                else { return sectors.lowerBound + index }
            }
            return nil
        }
    }
}
