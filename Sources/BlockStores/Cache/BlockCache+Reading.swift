// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
internal import Logging
internal import Synchronization

/// Reads.
extension BlockCache {
    /// Answers when all of the bytes are held, or zeros; see ``PartialBlockStore/readNow(_:of:)``.
    public func readNow(_ range: Range<Int>, of block: BlockNumber) -> BlockContents? {
        guard case .bytes(let contents) = readNow(range, of: block, lends: false, to: { _ in }) else { return nil }
        return contents
    }

    /// Answers from the slot itself, if the storage lends it; see ``PartialBlockStore/readNow(_:of:lending:)``.
    public func readNow(
        _ range: Range<Int>, of block: BlockNumber, lending reader: (RawSpan) -> Void
    ) -> PromptRead<BlockContents> {
        readNow(range, of: block, lends: true, to: reader)
    }

    /// The bytes are copied, or shown, outside of the lock. Copying them under it would spare taking it again, but while 4 KiB come
    /// from memory the other threads stand still: with two of them a fifth of the speed.
    private func readNow(
        _ range: Range<Int>, of block: BlockNumber, lends: Bool, to reader: (RawSpan) -> Void
    ) -> PromptRead<BlockContents> {
        let sectors = sectors(touching: range)
        let (step, rings, began) = state.withLock { state in
            // A clock takes longer than the rest of this.
            let began = state.times.isNextHitTimed ? timeline.now : nil
            let now = began ?? (settings.keptFor == nil ? .zero : timeline.now)
            let step = state.machine.beginRead(of: block, sectors, waits: false, now: now) { isZeroBelow(block, for: .read) }
            if case .miss = step { return (step, false, began) }
            return (step, note(block, &state), began)
        }
        if rings { doorbell.ring() }
        guard case .copy(let ticket, _, let holes) = step else {
            if case .zero = step { return .bytes(.zero) } else { return .notNow }
        }
        let answer: PromptRead<BlockContents>
        if lends, holes.isEmpty, storage.lend(range, of: block, in: ticket.slot, to: reader) {
            answer = .lent
        } else if case .success(let contents) = copyOut(range, of: block, ticket.slot, holes: holes) {
            answer = .bytes(contents)
        } else {
            // What could not be read is asked for once more by read(_:of:_:), which can say why.
            answer = .notNow
        }
        let wakeups: Wakeups? = state.withLock { state in
            if let began { state.times.readHit.add(timeline.now - began) }
            let ended = state.machine.endCopy(ticket)
            // Nearly always nobody waits.
            return ended.isOfNoConsequence && !state.machine.isRoomWanted ? nil : end(ended, &state)
        }
        if let wakeups { finish(wakeups) }
        return answer
    }

    /// Reads a part of a block; see ``PartialBlockStore/read(_:of:_:)``.
    public func read(
        _ range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockContents {
        let sectors = sectors(touching: range)
        let began = timeline.now
        var hasMissed = false
        var isCounted = false
        var mayForget = true
        var failure: BlockStoreError?
        while true {
            var rings = false
            let (step, number) = state.withLock { state in
                let step = state.machine.beginRead(
                    of: block, sectors, waits: true, counts: !isCounted, now: began
                ) { isZeroBelow(block, for: .read) }
                if !hasMissed { rings = note(block, &state) }
                if case .miss = step, failure != nil { return (step, UInt64(0)) }
                return (step, prepareToWait(step, block, &state))
            }
            isCounted = true
            if rings { doorbell.ring() }
            switch step {
            case .zero: return .zero
            case .copy(let ticket, let isGranted, let holes):
                let contents = try await copy(
                    range, of: block, ticket, isGranted: isGranted, holes, began, isHit: !hasMissed, &mayForget)
                if let contents { return contents }
            case .miss:
                if let failure { throw failure }
                hasMissed = true
                doorbell.ring()
                switch await fetched(number) {
                case .startOver: break
                case .unkept(nil, let error): throw error
                case .contents(let contents), .unkept(let contents?, _):
                    noteMiss(since: began)
                    return contents.part(range)
                // It may have been written meanwhile, and be held.
                case .failed(let error): failure = error
                }
            }
        }
    }

    /// Registers the caller for what `step` may make it wait for, under the same lock.
    private func prepareToWait(_ step: CacheStateMachine.ReadStep, _ block: BlockNumber, _ state: inout State) -> UInt64 {
        switch step {
        case .miss: return joinFetch(of: block, isForWrite: false, &state)
        case .copy(let ticket, isGranted: false, _):
            state.copiers.expect(ticket.number)
            return ticket.number
        case .copy, .zero: return 0
        }
    }

    /// Copies what a read was promised.
    ///
    /// - Returns: Nil when the read has to start over.
    private func copy(
        _ range: Range<Int>, of block: BlockNumber, _ ticket: CacheStateMachine.CopyTicket, isGranted: Bool,
        _ holes: [Range<Int>], _ began: Duration, isHit: Bool, _ mayForget: inout Bool
    ) async throws(BlockStoreError) -> BlockContents? {
        var holes: [Range<Int>]? = holes
        if !isGranted {
            guard await granted(ticket.number) else { return nil }
            holes = state.withLock { $0.machine.holes(of: ticket) }
        }
        let result = holes.map { copyOut(range, of: block, ticket.slot, holes: $0) }
        // Once for each read: a disk that damages what is fetched again would keep it for ever.
        let damaged = mayForget && result?.isCorrupt == true ? damagedSectors(of: block, ticket, holes ?? []) : nil
        let (wakeups, isForgotten) = state.withLock { state in
            if isHit { state.times.readHit.add(timeline.now - began) } else { state.times.readMiss.add(timeline.now - began) }
            var wakeups = end(state.machine.endCopy(ticket), &state)
            guard let damaged else { return (wakeups, false) }
            let (isForgotten, release) = state.machine.forget(block, damaged)
            if let release { wakeups.releases.append(release) }
            return (wakeups, isForgotten)
        }
        finish(wakeups)
        if isForgotten, case .failure(let error)? = result {
            mayForget = false
            warnOfDamage(error)
            return nil
        }
        return try result?.get()
    }

    /// The sectors of a copy, which is granted, that fail their check.
    func damagedSectors(
        of block: BlockNumber, _ ticket: CacheStateMachine.CopyTicket, _ holes: [Range<Int>]
    ) -> [Int] {
        ticket.sectors.filter { sector in
            !holes.contains { $0.contains(sector) }
                && copyOut(bytes(of: sector..<sector + 1), of: block, ticket.slot, holes: []).isFailure
        }
    }

    /// Tells the log of damage that the cache mends: what the store has as well is no loss.
    func warnOfDamage(_ error: BlockStoreError) {
        logger.warning("a cached block is damaged and is read from the store again", metadata: ["cause": "\(error)"])
    }

    /// Tells the detector of streams of a read, and asks for what it wants fetched.
    ///
    /// - Returns: Whether the bell has to be rung.
    private func note(_ block: BlockNumber, _ state: inout State) -> Bool {
        let wanted = state.readAhead.note(block..<block.advanced(by: 1))
        return !wanted.isEmpty && state.machine.readAhead(wanted) { isZeroBelow($0, for: .planning) }
    }

    private func noteMiss(since began: Duration) {
        state.withLock { $0.times.readMiss.add(timeline.now - began) }
    }

    /// Copies bytes of a slot into memory of their own; sectors in `holes` are zeros.
    func copyOut(
        _ range: Range<Int>, of block: BlockNumber, _ slot: CacheSlot, holes: [Range<Int>]
    ) -> Result<BlockContents, BlockStoreError> {
        let writer = pool.writer(count: range.count)
        do throws(BlockStoreError) {
            try copy(range, of: block, slot, holes: holes, to: writer.unsafeMutableBytes)
        } catch {
            return .failure(error)
        }
        return .success(.bytes(BufferSlice(writer.freeze(count: range.count))))
    }

    /// Copies bytes of a slot to `target`; sectors in `holes` are zeros.
    private func copy(
        _ range: Range<Int>, of block: BlockNumber, _ slot: CacheSlot, holes: [Range<Int>],
        to target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) {
        var position = range.lowerBound
        let part = { (bytes: Range<Int>) in
            UnsafeMutableRawBufferPointer(
                rebasing: target[bytes.lowerBound - range.lowerBound..<bytes.upperBound - range.lowerBound])
        }
        for hole in holes {
            let zeros = bytes(of: hole).clamped(to: range)
            if position < zeros.lowerBound {
                try storage.read(position..<zeros.lowerBound, of: block, in: slot, into: part(position..<zeros.lowerBound))
            }
            part(zeros).initializeMemory(as: UInt8.self, repeating: 0)
            position = zeros.upperBound
        }
        if position < range.upperBound {
            try storage.read(position..<range.upperBound, of: block, in: slot, into: part(position..<range.upperBound))
        }
    }
}

extension Result<BlockContents, BlockStoreError> {
    /// Whether it is an error.
    fileprivate var isFailure: Bool {
        if case .failure = self { true } else { false }
    }

    /// Whether something failed its check.
    var isCorrupt: Bool {
        if case .failure(let error) = self { error.code == .corrupt } else { false }
    }
}
