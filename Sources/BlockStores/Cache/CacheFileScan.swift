// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a cache file holds, found by reading its tables; nothing is changed.
///
/// - Source: Docs/Formats/CacheFile.md "Reading a file".
struct CacheFileScan: Sendable {
    /// A block in the file.
    struct Found: Sendable {
        /// Which.
        var block: BlockNumber
        /// Where.
        var slot: Int
        /// Its sectors with good bytes.
        var valid: [UInt64]
        /// Those that the store does not have.
        var dirty: [UInt64]
        /// Those that are in spares, and where.
        var moved: [(sector: Int, location: Int)] = []
        /// The last write by the user.
        var lastUser: UInt64 = 0
        /// Up to which write the store has it.
        var mark: UInt64 = 0
        /// Records that count no more, though a later start might think they do.
        var losers: [Int] = []
        /// Versions written by the user that the store does not have, and whose bytes are not there.
        var droppedCount = 0
        /// Whether some sector is dirty.
        var isDirty: Bool { dirty.contains { $0 != 0 } }
    }

    /// Where everything lies.
    let layout: CacheFileLayout
    /// The blocks.
    private(set) var blocks: [Found] = []
    /// The zeros that the store may not have seen.
    private(set) var zeros = CacheFileZeroRuns()
    /// The highest number seen.
    private(set) var sequence: UInt64 = 0
    /// Of each slot: the base.
    private(set) var bases: [UInt64]
    /// Slots whose descriptor claims what is not so.
    private(set) var falseSlots: [Int] = []
    /// Slots whose descriptor says of a zeroing what the log does not: that it happened; or that it is over, though nothing else in the slot
    /// counts. They are freed when the log says so, too.
    private(set) var zeroedSlots: [Int] = []
    /// The first entry of the zero log without an event.
    private(set) var zeroLogNext = 0
    /// Whether the zero log is to be written anew: it may say more than it comes to, or less, as long as slots say the rest.
    var isLogWordy: Bool { zeroLogNext > 0 || !zeroedSlots.isEmpty }
    /// Descriptors that are neither blank nor good.
    private(set) var damageCount = 0
    /// How many versions of sectors were dropped because their bytes are not there: a crash of the system came before their commit was done, or
    /// the disk has damaged them. Which it was cannot be told.
    private(set) var droppedCount = 0

    /// Reads all tables, and the data of the sectors that the store does not have.
    ///
    /// - Parameter seal: What checks these; without it they are taken to be good.
    /// - Throws: `.io` when the disk fails.
    init(of header: CacheFileHeader, on disk: any CacheFileDisk, seal: CacheFileSeal?) throws(BlockStoreError) {
        layout = header.layout
        bases = [UInt64](repeating: 0, count: layout.slotCount)
        let tables = Tables(disk: disk, header: header)
        var descriptors = try readDescriptors(tables)
        var events = try readEvents(tables)
        events += descriptors.compactMap { descriptor in
            guard descriptor.state == .zeroed else { return nil }
            let number = UInt64(descriptor.block.rawValue)
            return CacheFileZeroEvent(.zeroed, number..<number + 1, descriptor.zeroSequence)
        }
        let (zeroed, forgotten) = CacheFileZeroEvent.replay(events)
        zeros = zeroed
        for (slot, descriptor) in descriptors.enumerated() where descriptor.state == .used {
            let block = descriptor.block
            descriptors[slot].zeroSequence = max(zeroed.sequence(of: block) ?? 0, forgotten.sequence(of: block) ?? 0)
        }
        voidOvertaken(&descriptors)
        // The store has what a mark covers, zeros included.
        var ending: Set<Int> = []
        for (slot, descriptor) in descriptors.enumerated() where descriptor.state == .used {
            guard let zeroed = zeros.sequence(of: descriptor.block), descriptor.mark >= zeroed else { continue }
            let number = UInt64(descriptor.block.rawValue)
            zeros.remove(number..<number + 1)
            ending.insert(slot)
        }
        for (slot, descriptor) in descriptors.enumerated() where descriptor.state == .zeroed {
            let isSo = zeros.sequence(of: descriptor.block).map { $0 >= descriptor.zeroSequence } ?? false
            if isSo { zeroedSlots.append(slot) } else { falseSlots.append(slot) }
        }
        try readHomes(tables, descriptors, Pick(layout: layout, seal: seal, tables: tables))
        settleClaims()
        zeroedSlots += falseSlots.filter(ending.contains)
        falseSlots.removeAll(where: ending.contains)
    }

    /// A zeroing takes the slot away from its block, but the release is recorded only when the last copy to the slot has ended, which may
    /// come after the zeroing, and after a later slot was used and committed. So if a zeroing is known that lies between the bases of two
    /// slots, the earlier one is void, whatever it holds.
    private mutating func voidOvertaken(_ descriptors: inout [CacheFileDescriptor]) {
        var latest: [BlockNumber: UInt64] = [:]
        for descriptor in descriptors where descriptor.state == .used && descriptor.zeroSequence > 0 {
            latest[descriptor.block] = max(latest[descriptor.block] ?? 0, descriptor.base)
        }
        for (slot, descriptor) in descriptors.enumerated() where descriptor.state == .used {
            guard let base = latest[descriptor.block], descriptor.base < descriptor.zeroSequence, descriptor.zeroSequence <= base
            else { continue }
            descriptors[slot].state = .free
            falseSlots.append(slot)
        }
    }

    /// A block belongs to one slot. Of several that no known zeroing divides, the earliest with data that the store does not have comes
    /// first: a block that has such data gets another slot only after a zeroing and a release, both of which were written before anything of the
    /// later slot; had that been committed, they would be known. Else the last one counts.
    private mutating func settleClaims() {
        var claims: [BlockNumber: [Int]] = [:]
        for (index, found) in blocks.enumerated() { claims[found.block, default: []].append(index) }
        var losers: Set<Int> = []
        for (_, indices) in claims where indices.count > 1 {
            let ordered = indices.sorted { bases[blocks[$0].slot] < bases[blocks[$1].slot] }
            let owner = ordered.first { blocks[$0].isDirty } ?? ordered[ordered.count - 1]
            losers.formUnion(indices.filter { $0 != owner })
        }
        guard !losers.isEmpty else { return }
        falseSlots += losers.sorted().map { blocks[$0].slot }
        blocks = blocks.enumerated().filter { !losers.contains($0.offset) }.map(\.element)
    }

    // MARK: Tables

    private mutating func readDescriptors(_ tables: Tables) throws(BlockStoreError) -> [CacheFileDescriptor] {
        var descriptors: [CacheFileDescriptor] = []
        descriptors.reserveCapacity(layout.slotCount)
        let size = CacheFileLayout.descriptorSize
        var damaged = 0
        try tables.forEach(layout.slotCount, of: size, at: layout.descriptorsOffset) { slot, bytes in
            var descriptor = CacheFileDescriptor(bytes, slot: slot, seed: tables.header.seed)
            // The texts would take more memory than all the rest; whoever needs one reads it.
            descriptor?.version = .unknown
            if descriptor == nil { damaged += 1 }
            descriptors.append(descriptor ?? CacheFileDescriptor(.free, block: BlockNumber(0), base: 0))
        }
        damageCount = damaged
        for (slot, descriptor) in descriptors.enumerated() {
            bases[slot] = descriptor.base
            sequence = max(sequence, descriptor.base, descriptor.mark, descriptor.zeroSequence)
        }
        return descriptors
    }

    private mutating func readEvents(_ tables: Tables) throws(BlockStoreError) -> [CacheFileZeroEvent] {
        var events: [CacheFileZeroEvent] = []
        var next = 0
        let area = tables.header.zeroArea
        try tables.forEach(Int(area.count), of: CacheFileLayout.zeroEventSize, at: area.offset) { index, bytes in
            guard let event = CacheFileZeroEvent(bytes, generation: area.generation, seed: tables.header.seed) else { return }
            events.append(event)
            next = index + 1
        }
        zeroLogNext = next
        sequence = events.reduce(sequence) { max($0, $1.sequence) }
        return events
    }

    /// Finds the blocks. The records of free slots are read as well: were a number above theirs not known, a later write could get
    /// one below, and lose against what a crash has left there.
    private mutating func readHomes(
        _ tables: Tables, _ descriptors: [CacheFileDescriptor], _ pick: Pick
    ) throws(BlockStoreError) {
        let spares = try readSpares(tables, descriptors)
        let size = layout.sectorsPerBlock * CacheFileLayout.recordSize
        var found: [Found] = []
        var empty: [Int] = []
        var dropped = 0
        var highest = sequence
        try tables.forEach(layout.slotCount, of: size, at: layout.recordsOffset) { slot, bytes throws(BlockStoreError) in
            let records = pick.records(bytes)
            highest = records.reduce(highest) { max($0, $1?.sequence ?? 0) }
            guard descriptors[slot].state == .used else { return }
            let block = try pick.found(slot, descriptors[slot], records, spares)
            dropped += block.droppedCount
            if block.valid.contains(where: { $0 != 0 }) { found.append(block) } else { empty.append(slot) }
        }
        blocks = found
        falseSlots += empty
        droppedCount = dropped
        sequence = highest
    }

    /// The records in spares that count, by key.
    private mutating func readSpares(
        _ tables: Tables, _ descriptors: [CacheFileDescriptor]
    ) throws(BlockStoreError) -> [Int: [Pick.Candidate]] {
        var spares: [Int: [Pick.Candidate]] = [:]
        var highest: UInt64 = 0
        let layout = layout
        let start = layout.recordOffset(layout.homeCount)
        try tables.forEach(layout.spareCount, of: CacheFileLayout.recordSize, at: start) { index, bytes in
            guard let record = CacheFileRecord(bytes, seed: tables.header.seed) else { return }
            highest = max(highest, record.sequence)
            guard record.slot < layout.slotCount, record.sector < layout.sectorsPerBlock else { return }
            let descriptor = descriptors[Int(record.slot)]
            guard descriptor.state == .used, descriptor.block == record.block, record.sequence > descriptor.base else { return }
            let key = layout.homes(of: Int(record.slot)).lowerBound + Int(record.sector)
            spares[key, default: []].append(Pick.Candidate(record: record, location: layout.homeCount + index))
        }
        sequence = max(sequence, highest)
        return spares
    }

    /// Tables of a file, read in large pieces.
    struct Tables {
        /// The file.
        let disk: any CacheFileDisk
        /// Its header.
        let header: CacheFileHeader

        /// Calls `body` with each of `count` entries of `size` bytes that start at `offset`.
        func forEach(
            _ count: Int, of size: Int, at offset: UInt64, _ body: (Int, UnsafeRawBufferPointer) throws(BlockStoreError) -> Void
        ) throws(BlockStoreError) {
            let perPiece = max(1, (1 << 20) / size)
            for start in stride(from: 0, to: count, by: perPiece) {
                let part = min(perPiece, count - start)
                try withScratch(part * size) { bytes throws(BlockStoreError) in
                    try disk.read(into: bytes, at: offset + UInt64(start * size))
                    for index in 0..<part { try body(start + index, UnsafeRawBufferPointer(bytes).part(index * size, size)) }
                }
            }
        }
    }
}
