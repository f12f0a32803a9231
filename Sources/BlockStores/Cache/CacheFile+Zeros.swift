// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

extension CacheFile {
    /// The end of the zero log. Its lock is held over I/O: events are few, one for each run of blocks, and their order counts.
    struct ZeroLog: Sendable {
        /// Where it is.
        var area: CacheFileHeader.ZeroArea
        /// The first entry without an event.
        var next: Int
    }

    /// See ``CacheStorage/recordZeros(_:)``.
    public func recordZeros(_ blocks: BlockSet) throws(BlockStoreError) {
        guard !blocks.isEmpty else { return }
        try zeroLog.withLock { log throws(BlockStoreError) in
            // From the moment it has a number, no mark may cover it by chance.
            let sequence = state.withLock { state in
                let sequence = state.ledger.nextSequence()
                state.ledger.zeroing = (sequence, blocks)
                return sequence
            }
            defer { state.withLock { $0.ledger.zeroing = nil } }
            let ranges = blocks.ranges.map { UInt64($0.lowerBound.rawValue)..<UInt64($0.upperBound.rawValue) }
            try append(ranges.map { CacheFileZeroEvent(.zeroed, $0, sequence) }, to: &log)
            state.withLock { state in
                for range in ranges { state.ledger.zeros.insert(range, at: sequence) }
                // What was forgotten of an earlier zeroing does not concern this one.
                state.ledger.hasNews = true
            }
        }
    }

    /// See ``CacheStorage/forgetZeros(_:upTo:)``.
    public func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError) {
        let ranges = blocks.ranges.map { UInt64($0.lowerBound.rawValue)..<UInt64($0.upperBound.rawValue) }
        try zeroLog.withLock { log throws(BlockStoreError) in
            let (runs, slots, forgotten) = state.withLock { state in
                let all = ranges.flatMap { state.ledger.zeros.runs(in: $0) }
                let runs = all.filter { $0.sequence <= mark.rawValue }
                var forgotten = blocks
                for run in all where run.sequence > mark.rawValue {
                    forgotten.remove(contentsOf: BlockNumber(run.lower)..<BlockNumber(run.upper))
                }
                let slots = state.ledger.zeroedSlots.filter { forgotten.contains($0.value) }.sorted { $0.key < $1.key }
                return (runs, slots.map { (slot: $0.key, block: $0.value, base: state.ledger.bases[$0.key]) }, forgotten)
            }
            guard !runs.isEmpty || !slots.isEmpty else { return }
            try append(runs.map { CacheFileZeroEvent(.forgotten, $0.lower..<$0.upper, $0.sequence) }, to: &log)
            for (slot, block, base) in slots { try write(CacheFileDescriptor(.free, block: block, base: base), of: slot) }
            state.withLock { state in
                for run in runs { state.ledger.zeros.remove(run.lower..<run.upper) }
                for (slot, _, _) in slots { state.ledger.zeroedSlots[slot] = nil }
                state.ledger.forgotten.now.formUnion(forgotten)
                state.ledger.hasNews = true
            }
        }
    }

    private func append(_ events: [CacheFileZeroEvent], to log: inout ZeroLog) throws(BlockStoreError) {
        guard !events.isEmpty else { return }
        if log.next + events.count > Int(log.area.count) { try compact(&log, roomFor: events.count) }
        try write(events, to: log.area, at: log.next)
        log.next += events.count
    }

    /// Writes what the log comes to into another area, and then tells the header: at any moment one of them holds everything.
    func compact(_ log: inout ZeroLog, roomFor count: Int) throws(BlockStoreError) {
        let runs = state.withLock { $0.ledger.zeros.runs }
        let area = nextArea(after: log.area, count: runs.count + count)
        if area.offset >= layout.size { try disk.reserve(area.size, at: area.offset) }
        try write(runs.map { CacheFileZeroEvent(.zeroed, $0.lower..<$0.upper, $0.sequence) }, to: area, at: 0)
        settle()
        _ = try updateHeader { $0.zeroArea = area }
        log = ZeroLog(area: area, next: runs.count)
    }

    /// The other one of the two small areas, if twice as much fits; else a large one behind the data, which the disk must have room for.
    private func nextArea(after area: CacheFileHeader.ZeroArea, count: Int) -> CacheFileHeader.ZeroArea {
        var next = area
        next.generation += 1
        let small = layout.zeroLogOffset(area.offset == layout.zeroLogOffset(0) ? 1 : 0)
        if count * 2 <= layout.zeroEventCount {
            next.offset = small
            next.count = UInt32(layout.zeroEventCount)
        } else {
            let perPage = Int(CacheFileLayout.alignment) / CacheFileLayout.zeroEventSize
            next.count = UInt32((count * 2 + perPage - 1) / perPage * perPage)
            // Not over the current one, wherever that is.
            let size = next.size
            let fitsBefore = area.offset >= layout.size + size || area.offset < layout.size
            next.offset = fitsBefore ? layout.size : area.offset + area.size
        }
        return next
    }

    private func write(
        _ events: [CacheFileZeroEvent], to area: CacheFileHeader.ZeroArea, at first: Int
    ) throws(BlockStoreError) {
        let size = CacheFileLayout.zeroEventSize
        let perPiece = Self.pieceSizeMax / size
        for start in stride(from: 0, to: events.count, by: perPiece) {
            let part = events[start..<min(start + perPiece, events.count)]
            try withScratch(part.count * size) { bytes throws(BlockStoreError) in
                for (index, event) in part.enumerated() {
                    event.encode(into: bytes.part(index * size, size), generation: area.generation, seed: seed)
                }
                try disk.write(UnsafeRawBufferPointer(bytes), at: area.offset + UInt64((first + start) * size))
            }
        }
    }
}

extension CacheFileHeader.ZeroArea {
    /// How many bytes it has; whole pages, as the two small ones.
    var size: UInt64 {
        let bytes = UInt64(count) * UInt64(CacheFileLayout.zeroEventSize)
        return (bytes + CacheFileLayout.alignment - 1) / CacheFileLayout.alignment * CacheFileLayout.alignment
    }
}
