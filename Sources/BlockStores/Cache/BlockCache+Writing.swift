// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
internal import Synchronization

/// Writes.
extension BlockCache {
    /// Which sectors a write touches, and of which it covers a part only.
    struct Span {
        /// The sectors that it touches.
        let sectors: Range<Int>
        /// Those of which it covers a part only: the first, the last, or none.
        let edges: [Int]

        /// Looks at a write to the bytes `range` of a block.
        init(_ range: Range<Int>, sectorSize: Int) {
            sectors = range.lowerBound / sectorSize..<(range.upperBound + sectorSize - 1) / sectorSize
            var edges: [Int] = []
            if range.lowerBound % sectorSize != 0 { edges.append(sectors.lowerBound) }
            if range.upperBound % sectorSize != 0, edges.last != sectors.upperBound - 1 { edges.append(sectors.upperBound - 1) }
            self.edges = edges
        }
    }

    /// Takes whole sectors at once if there is room and nobody is in the way; see ``PartialBlockStore/writeNow(_:at:of:)``.
    public func writeNow(_ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber) -> Bool {
        let span = Span(range, sectorSize: sectorSize)
        // Zeros and edges take the long way; so do writes that have to wait for the store.
        guard span.edges.isEmpty, !settings.isSynchronous, !isAllZero(bytes) else { return false }
        let step: CacheStateMachine.WriteStep = state.withLock { state in
            guard state.refusal == nil else { return .full }
            return state.machine.beginWrite(to: block, span.sectors, edges: [], isZeros: false, waits: false) {
                isZeroBelow(block, for: .planning)
            }
        }
        guard case .copy(let ticket, true, let isNewTenant) = step else { return false }
        var isWritten = false
        do throws(BlockStoreError) {
            if isNewTenant { try storage.assign(ticket.slot, to: block) }
            isWritten = try storage.writeNow(bytes, at: range, of: block, in: ticket.slot, .user)
        } catch {
            // write(_:at:of:_:) meets the same failure, and can say so.
        }
        endWrite(ticket, to: block, span.sectors, succeeded: isWritten)
        return isWritten
    }

    /// Writes a part of a block; see ``PartialBlockStore/write(_:at:of:_:)``.
    ///
    /// - Throws: `.cancelled`; what reading the block throws, if bytes beside the write are needed; what the storage throws;
    ///   `.fenced` once the store has said that the volume is somebody else's; `.io` once ``drain()`` has begun.
    public func write(
        _ contents: BlockContents, at range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) {
        try failIfLost()
        let isZeros = contents.isAllZeros
        if isZeros, range.count == geometry.blockSize { return try await zero(BlockSet(block..<block.advanced(by: 1)), context) }
        let span = Span(range, sectorSize: sectorSize)
        var course = Course()
        while try await !attempt(contents, at: range, span, of: block, isZeros: isZeros, &course) {}
        if settings.isSynchronous { try await flushToStore(.blocks(BlockSet(block..<block.advanced(by: 1)))) }
    }

    /// What a write remembers from one attempt to the next.
    private struct Course {
        /// Whether it has been counted as a hit or a miss.
        var isCounted = false
        /// Whether a damaged edge may be fetched again: once.
        var mayForget = true
        /// Whether it was let in from the line, and has not asked for its room yet.
        var isAdmitted = false
    }

    /// Tries to write.
    ///
    /// - Returns: False when it has to be tried again.
    private func attempt(
        _ contents: BlockContents, at range: Range<Int>, _ span: Span, of block: BlockNumber, isZeros: Bool,
        _ course: inout Course
    ) async throws(BlockStoreError) -> Bool {
        let wasAdmitted = course.isAdmitted
        course.isAdmitted = false
        let (step, number, admitted) = state.withLock { state in
            // Who is refused lines up, and is told there why.
            let step =
                state.refusal != nil
                ? .full
                : state.machine.beginWrite(
                    to: block, span.sectors, edges: span.edges, isZeros: isZeros, waits: true, counts: !course.isCounted
                ) { isZeroBelow(block, for: .planning) }
            let number = prepareToWait(step, block, &state)
            return (step, number, wasAdmitted ? returnAdmission(&state) : [])
        }
        for wakeup in admitted { wakeup() }
        switch step {
        case .full, .unreleased: break
        case .nothing, .needsBytes, .copy: course.isCounted = true
        }
        switch step {
        case .nothing: return true
        case .needsBytes:
            doorbell.ring()
            switch await fetched(number) {
            case .failed(let error): throw error
            // To start over would be to ask the store and fail here again.
            case .unkept(_, let error): throw error
            case .startOver: break
            // The block is needed here, and there was no room for it.
            case .contents: course.isAdmitted = try await waitForRoom(for: block)
            }
            return false
        case .full:
            doorbell.ring()
            try await room(number, of: block)
            course.isAdmitted = true
            return false
        case .unreleased:
            try await release(number, of: block)
            return false
        case .copy(let ticket, let isGranted, let isNewTenant):
            if !isGranted { guard await granted(ticket.number) else { return false } }
            return try await copyIn(contents, at: range, span, of: block, ticket, isNewTenant: isNewTenant, &course)
        }
    }

    private func prepareToWait(_ step: CacheStateMachine.WriteStep, _ block: BlockNumber, _ state: inout State) -> UInt64 {
        switch step {
        case .needsBytes: return joinFetch(of: block, isForWrite: true, &state)
        case .full: return lineUp(&state)
        case .unreleased: return expectRelease(of: block, &state)
        case .copy(let ticket, isGranted: false, _):
            state.copiers.expect(ticket.number)
            return ticket.number
        case .copy, .nothing: return 0
        }
    }

    /// Copies what a write was granted.
    ///
    /// - Returns: False when it has to start over.
    private func copyIn(
        _ contents: BlockContents, at range: Range<Int>, _ span: Span, of block: BlockNumber,
        _ ticket: CacheStateMachine.CopyTicket, isNewTenant: Bool, _ course: inout Course
    ) async throws(BlockStoreError) -> Bool {
        guard let held = state.withLock({ $0.machine.heldEdges(ticket, span.edges) }) else {
            finish(state.withLock { end($0.machine.endCopy(ticket), &$0) })
            return false
        }
        do throws(BlockStoreError) {
            if isNewTenant { try storage.assign(ticket.slot, to: block) }
            let whole = try merged(contents, at: range, span, heldEdges: held, of: block, ticket.slot)
            try await storage.write(
                whole.unsafeBytes, at: bytes(of: span.sectors), of: block, in: ticket.slot, .user)
            withExtendedLifetime(whole.buffer) {}
        } catch {
            // An edge that is damaged here, and whole in the store, is fetched again; once.
            let damaged = course.mayForget && error.code == .corrupt ? damagedEdges(held, of: block, ticket.slot) : []
            endWrite(ticket, to: block, span.sectors, succeeded: false)
            guard !damaged.isEmpty else { throw error }
            let (isForgotten, release) = state.withLock { $0.machine.forget(block, damaged) }
            if let release { finish(releasing: [release]) }
            guard isForgotten else { throw error }
            course.mayForget = false
            warnOfDamage(error)
            return false
        }
        endWrite(ticket, to: block, span.sectors, succeeded: true)
        return true
    }

    private func damagedEdges(_ edges: [Int], of block: BlockNumber, _ slot: CacheSlot) -> [Int] {
        edges.filter { copyOut(bytes(of: $0..<$0 + 1), of: block, slot, holes: []).isCorrupt }
    }

    private func endWrite(
        _ ticket: CacheStateMachine.CopyTicket, to block: BlockNumber, _ sectors: Range<Int>, succeeded: Bool
    ) {
        let (wakeups, rings) = state.withLock { state in
            let wasIdle = state.machine.lists.first(of: .dirty) == nil
            let end = state.machine.endWrite(ticket, to: block, sectors, succeeded: succeeded, now: timeline.now)
            return (self.end(end, &state), wasIdle || state.machine.canSendNow)
        }
        finish(wakeups)
        if rings { doorbell.ring() }
    }

    /// The sectors of a write, whole: what it brings, and at its edges what is held there, or zeros.
    private func merged(
        _ contents: BlockContents, at range: Range<Int>, _ span: Span, heldEdges: [Int], of block: BlockNumber, _ slot: CacheSlot
    ) throws(BlockStoreError) -> BufferSlice {
        if span.edges.isEmpty, case .bytes(let slice) = contents { return slice }
        let whole = bytes(of: span.sectors)
        let writer = pool.writer(count: whole.count)
        let target = writer.unsafeMutableBytes
        for edge in span.edges {
            let offset = (edge - span.sectors.lowerBound) * sectorSize
            let sector = UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + sectorSize])
            if heldEdges.contains(edge) {
                try storage.read(bytes(of: edge..<edge + 1), of: block, in: slot, into: sector)
            } else {
                sector.initializeMemory(as: UInt8.self, repeating: 0)
            }
        }
        let start = range.lowerBound - whole.lowerBound
        contents.copy(to: UnsafeMutableRawBufferPointer(rebasing: target[start..<start + range.count]))
        return BufferSlice(writer.freeze(count: whole.count))
    }
}
