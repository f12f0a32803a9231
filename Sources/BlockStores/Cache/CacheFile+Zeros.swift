// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Logging
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
            try forget(runs, in: &log)
            // Only now: until the zeroing was durable, these descriptors were all that kept the old data from coming back.
            for (slot, block, base) in slots { try write(CacheFileDescriptor(.free, block: block, base: base), of: slot) }
            state.withLock { state in
                for run in runs { state.ledger.zeros.remove(run.lower..<run.upper) }
                for (slot, _, _) in slots { state.ledger.zeroedSlots[slot] = nil }
                state.ledger.forgotten.now.formUnion(forgotten)
                state.ledger.hasNews = true
            }
        }
    }

    /// Adds entries, all or none.
    private func append(_ events: [CacheFileZeroEvent], to log: inout ZeroLog) throws(BlockStoreError) {
        if log.next + events.count > Int(log.area.count) {
            try compact(&log, to: state.withLock { $0.ledger.zeros.runs }, roomFor: events.count)
        }
        do throws(BlockStoreError) {
            try write(events, to: log.area, at: log.next)
        } catch {
            // Some may be on the disk, and would count at the next start; in another area nothing does but what is written there.
            do throws(BlockStoreError) {
                try compact(&log, to: state.withLock { $0.ledger.zeros.runs }, roomFor: 0)
            } catch {
                distrust(error)
            }
            throw error
        }
        log.next += events.count
    }

    /// Records that zeroings are over: by entries, or by writing the log anew without them, which needs no room for more. An entry that is left
    /// by a failure does no harm, since it is true.
    private func forget(_ runs: [CacheFileZeroRuns.Run], in log: inout ZeroLog) throws(BlockStoreError) {
        guard !runs.isEmpty else { return }
        if log.next + runs.count <= Int(log.area.count) {
            do throws(BlockStoreError) {
                try write(
                    runs.map { CacheFileZeroEvent(.forgotten, $0.lower..<$0.upper, $0.sequence) }, to: log.area, at: log.next)
                log.next += runs.count
                return
            } catch {
                logger.warning(
                    "cannot write to the zero log of the cache file; it is written anew", metadata: ["cause": "\(error)"])
            }
        }
        var rest = state.withLock { $0.ledger.zeros }
        for run in runs { rest.remove(run.lower..<run.upper) }
        try compact(&log, to: rest.runs, roomFor: 0)
    }

    /// Writes what the log comes to into another area, and then tells the header: at any moment one of them holds everything.
    func compact(_ log: inout ZeroLog, to runs: [CacheFileZeroRuns.Run], roomFor count: Int) throws(BlockStoreError) {
        let area = try takeArea(after: log.area, count: runs.count + count)
        try write(runs.map { CacheFileZeroEvent(.zeroed, $0.lower..<$0.upper, $0.sequence) }, to: area, at: 0)
        // A crash at this place, or a failure, may have left entries of the same generation there.
        try erase(area, from: runs.count)
        settle()
        _ = try updateHeader { $0.zeroArea = area }
        log = ZeroLog(area: area, next: runs.count)
    }

    /// The other one of the two small areas, if twice as much fits; else a large one behind the data, if the disk has room for it and for
    /// another one of its size. Else what just fits: there always is room for less than there was, so that zeros can be forgotten.
    private func takeArea(after area: CacheFileHeader.ZeroArea, count: Int) throws(BlockStoreError) -> CacheFileHeader.ZeroArea {
        var small = area
        small.generation += 1
        small.offset = layout.zeroLogOffset(area.offset == layout.zeroLogOffset(0) ? 1 : 0)
        small.count = UInt32(layout.zeroEventCount)
        if count * 2 <= layout.zeroEventCount { return small }
        do throws(BlockStoreError) {
            let next = largeArea(after: area, count: count * 2)
            try disk.reserve(2 * next.size, at: next.offset)
            return next
        } catch {
            guard error.code == .noSpace else { throw error }
            if count <= layout.zeroEventCount { return small }
            let next = largeArea(after: area, count: count)
            try disk.reserve(next.size, at: next.offset)
            return next
        }
    }

    private func largeArea(after area: CacheFileHeader.ZeroArea, count: Int) -> CacheFileHeader.ZeroArea {
        var next = area
        next.generation += 1
        let perPage = Int(CacheFileLayout.alignment) / CacheFileLayout.zeroEventSize
        next.count = UInt32((count + perPage - 1) / perPage * perPage)
        // Not over the current one, wherever that is.
        let fitsBefore = area.offset >= layout.size + next.size || area.offset < layout.size
        next.offset = fitsBefore ? layout.size : area.offset + area.size
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

    /// Leaves no entry behind the first `count` ones.
    private func erase(_ area: CacheFileHeader.ZeroArea, from count: Int) throws(BlockStoreError) {
        let first = UInt64(count * CacheFileLayout.zeroEventSize)
        for start in stride(from: first, to: area.size, by: Self.pieceSizeMax) {
            try withScratch(Int(min(area.size - start, UInt64(Self.pieceSizeMax)))) { bytes throws(BlockStoreError) in
                bytes.initializeMemory(as: UInt8.self, repeating: 0)
                try disk.write(UnsafeRawBufferPointer(bytes), at: area.offset + start)
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
