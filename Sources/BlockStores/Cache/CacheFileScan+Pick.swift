// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension CacheFileScan {
    /// Finds out which version of each sector of a slot counts.
    struct Pick {
        /// A record that may count.
        struct Candidate: Sendable {
            /// What it says.
            var record: CacheFileRecord
            /// Where it is.
            var location: Int
        }

        /// Where everything lies.
        let layout: CacheFileLayout
        /// What checks bytes; without it they are taken to be good.
        let seal: CacheFileSeal?
        /// The file.
        let tables: Tables

        /// Prepares to look at the slots of a file.
        init(layout: CacheFileLayout, seal: CacheFileSeal?, tables: Tables) {
            self.layout = layout
            self.seal = seal
            self.tables = tables
        }

        /// The records of a slot's homes; nil where there is none.
        func records(_ bytes: UnsafeRawBufferPointer) -> [CacheFileRecord?] {
            let size = CacheFileLayout.recordSize
            return (0..<layout.sectorsPerBlock).map { CacheFileRecord(bytes.part($0 * size, size), seed: tables.header.seed) }
        }

        /// Looks at all records of a slot.
        ///
        /// - Parameters:
        ///   - descriptor: The slot's; its `zeroSequence` is when the block was zeroed last.
        ///   - records: Those of its homes.
        ///   - spares: Those in spares, by key.
        func found(
            _ slot: Int, _ descriptor: CacheFileDescriptor, _ records: [CacheFileRecord?], _ spares: [Int: [Candidate]]
        ) throws(BlockStoreError) -> Found {
            let words = [UInt64](repeating: 0, count: (layout.sectorsPerBlock + 63) / 64)
            var found = Found(block: descriptor.block, slot: slot, valid: words, dirty: words)
            found.mark = descriptor.mark
            let homes = layout.homes(of: slot)
            var candidates: [Int: [Candidate]] = [:]
            for (sector, record) in records.enumerated() {
                guard let record, record.block == descriptor.block, Int(record.slot) == slot, Int(record.sector) == sector,
                    record.sequence > descriptor.base
                else { continue }
                candidates[sector] = [Candidate(record: record, location: homes.lowerBound + sector)]
            }
            for sector in 0..<layout.sectorsPerBlock {
                let all = (candidates[sector] ?? []) + (spares[homes.lowerBound + sector] ?? [])
                if !all.isEmpty { try choose(sector, all, descriptor, &found) }
            }
            return found
        }

        /// The latest version wins whose bytes are there. What the store has is not looked at: a read will check it.
        private func choose(
            _ sector: Int, _ candidates: [Candidate], _ descriptor: CacheFileDescriptor, _ found: inout Found
        ) throws(BlockStoreError) {
            var winner: Candidate?
            for candidate in candidates.sorted(by: { $0.record.sequence > $1.record.sequence }) {
                let isCovered = candidate.record.sequence <= descriptor.mark
                let isZeroed = candidate.record.sequence <= descriptor.zeroSequence
                let isDirty = candidate.record.kind == .user && !isCovered
                if winner == nil, !isZeroed, isCovered || isDirty {
                    let counts = isDirty ? try isGood(candidate) : true
                    if counts {
                        winner = candidate
                        found.valid[sector / 64] |= 1 << UInt64(sector % 64)
                        if isDirty { found.dirty[sector / 64] |= 1 << UInt64(sector % 64) }
                        if candidate.record.kind == .user { found.lastUser = max(found.lastUser, candidate.record.sequence) }
                        if candidate.location >= layout.homeCount { found.moved.append((sector, candidate.location)) }
                        continue
                    }
                    found.droppedCount += 1
                }
                found.losers.append(candidate.location)
            }
        }

        private func isGood(_ candidate: Candidate) throws(BlockStoreError) -> Bool {
            guard let seal else { return true }
            return try withScratch(layout.sectorSize) { bytes throws(BlockStoreError) in
                try tables.disk.read(into: bytes, at: layout.dataOffset(candidate.location))
                return seal.open(UnsafeRawBufferPointer(bytes), candidate.record, into: bytes)
            }
        }
    }
}
