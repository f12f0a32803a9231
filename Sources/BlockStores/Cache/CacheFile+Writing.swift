// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

extension CacheFile {
    /// See ``CacheStorage/write(_:at:of:in:_:)``. Waits only when no spare location is free, and then for local I/O.
    public func write(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) async throws(BlockStoreError) {
        precondition(bytes.count == range.count, "the bytes fill the range")
        for piece in pieces(of: range) {
            let part = bytes.part(piece.lowerBound - range.lowerBound, piece.count)
            var attempts = 0
            while let obstacle = try attemptWrite(part, at: piece, of: block, in: slot, origin) {
                attempts += 1
                try await overcome(obstacle, attempts)
            }
        }
    }

    /// See ``CacheStorage/writeNow(_:at:of:in:_:)``. What is longer than a piece is left to ``write(_:at:of:in:_:)``.
    public func writeNow(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> Bool {
        guard range.count <= Self.pieceSizeMax else { return false }
        return try attemptWrite(bytes, at: range, of: block, in: slot, origin) == nil
    }

    /// What keeps a write from being done at once.
    enum WriteObstacle: Sendable {
        /// Sectors are being brought home.
        case relocation
        /// So many spares are needed.
        case spares(Int)
    }

    /// Writes a piece, unless something must be waited for.
    ///
    /// - Returns: What must be waited for; nil when the write is done.
    func attemptWrite(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> WriteObstacle? {
        precondition(range.lowerBound % layout.sectorSize == 0 && range.upperBound % layout.sectorSize == 0, "whole sectors only")
        let sectors = range.lowerBound / layout.sectorSize..<range.upperBound / layout.sectorSize
        let isUser = origin == .user
        var plan: WritePlan
        var hasMoved = false
        switch state.withLock({ $0.ledger.planWrite(slot: Int(slot.rawValue), sectors: sectors, isUser: isUser) }) {
        case .go(let planned): plan = planned
        case .waitForRelocation: return .relocation
        case .needSpares(let count): return .spares(count)
        }
        while true {
            do throws(BlockStoreError) {
                try carryOut(plan, bytes, block)
            } catch {
                let failed = plan
                guard !hasMoved, let elsewhere = state.withLock({ $0.ledger.planElsewhere(failed) }) else {
                    giveUp(plan)
                    throw error
                }
                hasMoved = true
                plan = elsewhere
                continue
            }
            let (end, isCommitNext, waiters) = state.withLock { state in
                let end = state.ledger.finishWrite(plan)
                let isCommitNext = isUser && end.isDone && state.forecast.noteWrite()
                return (end, isCommitNext, state.takeWaiters())
            }
            for waiter in waiters { waiter.resume() }
            guard case .again(let again) = end else {
                if isCommitNext { disk.startWriting() }
                return nil
            }
            plan = again
        }
    }

    /// Cuts a range at multiples of ``pieceSizeMax``.
    func pieces(of range: Range<Int>) -> [Range<Int>] {
        guard range.count > Self.pieceSizeMax else { return range.isEmpty ? [] : [range] }
        return stride(from: range.lowerBound, to: range.upperBound, by: Self.pieceSizeMax).map {
            $0..<min($0 + Self.pieceSizeMax, range.upperBound)
        }
    }

    private func overcome(_ obstacle: WriteObstacle, _ attempts: Int) async throws(BlockStoreError) {
        // Every attempt makes all spares free that can be; others may take them first, but not for ever.
        guard attempts <= 1000 else {
            throw BlockStoreError(.noSpace, "cannot write to the cache file: no spare sector becomes free")
        }
        switch obstacle {
        case .relocation: await waitForRelocation()
        case .spares(let count):
            try await makeSpares()
            await waitForWrite(unlessFree: count)
        }
    }

    /// Waits for some write to end, if there are still too few spares and writes that may have them.
    private func waitForWrite(unlessFree count: Int) async {
        await withCheckedContinuation { waiter in
            let mustWait = state.withLock { state in
                let ledger = state.ledger
                let mustWait = ledger.isTrusted && ledger.freeSpares.count < count && ledger.runningCount > 0
                if mustWait { state.writeWaiters.append(waiter) }
                return mustWait
            }
            if !mustWait { waiter.resume() }
        }
    }

    /// Writes bytes and records: both in one piece wherever locations are neighbours, and the bytes first.
    private func carryOut(
        _ plan: WritePlan, _ bytes: UnsafeRawBufferPointer, _ block: BlockNumber
    ) throws(BlockStoreError) {
        let size = layout.sectorSize
        try withScratch(plan.locations.count * CacheFileLayout.recordSize) { records throws(BlockStoreError) in
            try withScratch(seal.isEncrypted ? bytes.count : 8) { sealed throws(BlockStoreError) in
                for index in plan.locations.indices {
                    var record = CacheFileRecord(
                        block: block, slot: plan.slot, sector: plan.firstSector + index, kind: plan.isUser ? .user : .store,
                        sequence: plan.sequence)
                    let target = seal.isEncrypted ? sealed.part(index * size, size) : sealed
                    seal.seal(bytes.part(index * size, size), &record, into: target)
                    record.encode(
                        into: records.part(index * CacheFileLayout.recordSize, CacheFileLayout.recordSize), seed: seed)
                }
                let stored = seal.isEncrypted ? UnsafeRawBufferPointer(sealed) : bytes
                for run in CacheFile.runs(of: plan.locations) {
                    let location = plan.locations[run.lowerBound]
                    try disk.write(stored.part(run.lowerBound * size, run.count * size), at: layout.dataOffset(location))
                    let part = records.part(
                        run.lowerBound * CacheFileLayout.recordSize, run.count * CacheFileLayout.recordSize)
                    try disk.write(UnsafeRawBufferPointer(part), at: layout.recordOffset(location))
                }
            }
        }
    }

    /// After a failure the records of the write are erased, so that nothing of it can be taken for a version; but see
    /// ``Ledger/erasableLocations(_:)``.
    private func giveUp(_ plan: WritePlan) {
        let (erasable, others, waiters) = state.withLock { state in
            let erasable = state.ledger.erasableLocations(plan)
            let others = state.ledger.failWrite(plan)
            return (erasable, others, state.takeWaiters())
        }
        for waiter in waiters { waiter.resume() }
        do throws(BlockStoreError) {
            try eraseRecords(erasable)
            state.withLock { $0.ledger.noteErased(others) }
        } catch {
            // The spares stay lost, and after a crash a version may come back that was never acknowledged.
            distrust(error)
        }
    }

    /// The indices of neighbouring locations.
    static func runs(of locations: [Int]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for (index, location) in locations.enumerated() {
            if let last = runs.last, locations[last.upperBound - 1] + 1 == location {
                runs[runs.count - 1] = last.lowerBound..<index + 1
            } else {
                runs.append(index..<index + 1)
            }
        }
        return runs
    }
}

extension CacheFile.State {
    /// Who waited for a write to end: for the last rewrite, the maker of a commit; for any, those who need spares.
    mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
        var waiters = writeWaiters
        writeWaiters = []
        if ledger.rewriteCount == 0, let drain {
            waiters.append(drain)
            self.drain = nil
        }
        return waiters
    }
}
