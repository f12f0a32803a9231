// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging

/// Asking the store for blocks, and keeping what it answers.
extension BlockCache {
    /// Asks the store for a block, keeps it if there is room, and answers all who wait for it. The fetch counts as running.
    func fetch(_ block: BlockNumber) async -> FetchAnswer {
        let (slot, context) = state.withLock { state in
            (state.machine.slotToVerify(block), self.context(ofFetch: block, &state))
        }
        let known = slot.map { storage.version(of: block, in: $0) }
        let read: BlockRead
        do throws(BlockStoreError) {
            read = try await next.read(block, ifNot: known == .unknown ? nil : known, context)
        } catch {
            return await keep(block, .zero, .unknown, .failed, else: .failed(error))
        }
        switch read {
        case .unchanged: return await keep(block, .zero, .unknown, .unchanged, else: .startOver)
        case .block(.zero, let version): return await keep(block, .zero, version, .zero, else: .contents(.zero))
        case .block(let contents, let version): return await keep(block, contents, version, .bytes, else: .contents(contents))
        }
    }

    /// The context of a fetch that is about to be sent: if nobody waits for it yet, somebody may come who does.
    private func context(ofFetch block: BlockNumber, _ state: inout State) -> IOContext {
        guard state.machine.fetches[block]?.isForeground == false else { return .foreground }
        let escalation = IOEscalation()
        state.escalations[block] = escalation
        return IOContext(escalation: escalation)
    }

    /// Ends a fetch.
    ///
    /// - Parameter answer: For those who wait, when the block is not kept.
    private func keep(
        _ block: BlockNumber, _ contents: BlockContents, _ version: BlockVersion, _ outcome: CacheStateMachine.FetchOutcome,
        else answer: FetchAnswer
    ) async -> FetchAnswer {
        var ticket: CacheStateMachine.CopyTicket?
        while true {
            let (step, runs, wakeups, reply) = state.withLock { state in
                state.escalations[block] = nil
                let (step, end) = state.machine.beginFill(of: block, outcome, ticket: ticket, now: timeline.now)
                var wakeups = self.end(end, &state)
                var reply = FetchAnswer.startOver
                var runs: [Range<Int>] = []
                switch step {
                case .startOver:
                    if case .failed(let error) = answer { reply = .failed(error) }
                    wakeups.fetchers = answerFetchers(of: block, reply, &state)
                case .answerOnly:
                    reply = answer
                    wakeups.fetchers = answerFetchers(of: block, reply, &state)
                case .copy(let ticket, isGranted: true, _): runs = state.machine.sectorsToFill(ticket)
                case .copy(let ticket, isGranted: false, _): state.copiers.expect(ticket.number)
                }
                return (step, runs, wakeups, reply)
            }
            finish(wakeups)
            guard case .copy(let copy, let isGranted, let isNewTenant) = step else { return reply }
            if isGranted { return await fill(block, contents, version, copy, runs, isNewTenant: isNewTenant) }
            ticket = await granted(copy.number) ? copy : nil
        }
    }

    /// Copies a fetched block to its slot.
    private func fill(
        _ block: BlockNumber, _ contents: BlockContents, _ version: BlockVersion, _ ticket: CacheStateMachine.CopyTicket,
        _ runs: [Range<Int>], isNewTenant: Bool
    ) async -> FetchAnswer {
        var failure: BlockStoreError?
        do throws(BlockStoreError) {
            if isNewTenant { try storage.assign(ticket.slot, to: block) }
            if let slice = runs.isEmpty ? nil : bytes(of: contents) {
                for run in runs {
                    let part = slice.slice(bytes(of: run))
                    try await storage.write(part.unsafeBytes, at: bytes(of: run), of: block, in: ticket.slot, .store)
                }
                withExtendedLifetime(slice.buffer) {}
                // Beside bytes that the store does not have, a version would cover too much or too little: after a crash the block
                // is asked for again.
                let (isAttached, covered) = state.withLock { state in
                    let isDirty = state.machine.isDirty(ticket.slot)
                    return (state.machine.isAttached(ticket), isDirty ? nil : lastWrite(of: block, state.zeroIntents))
                }
                let isZeros = if case .zero = contents { true } else { false }
                // Of a block that was zeroed meanwhile the slot says nothing any more.
                if isAttached {
                    try storage.setVersion(
                        covered == nil || isZeros ? .unknown : version, of: block, in: ticket.slot, upTo: covered)
                }
            }
        } catch {
            failure = error
            logger.error("cannot keep a block in the cache", metadata: ["block": "\(block)", "cause": "\(error)"])
        }
        // Who waits starts over and finds the block held. If the cache's disk has failed, the bytes are all there is; over a block
        // that is partly held they would be too old.
        let (answer, wakeups) = state.withLock { state in
            let isOld = state.machine.fetches[block]?.isDisturbed != false
            let answer: FetchAnswer =
                if let failure, !isOld { .unkept(isNewTenant ? contents : nil, failure) } else { .startOver }
            let end = state.machine.endFill(ticket, of: block, sectors: runs, succeeded: failure == nil, now: timeline.now)
            var wakeups = self.end(end, &state)
            wakeups.fetchers = answerFetchers(of: block, answer, &state)
            return (answer, wakeups)
        }
        finish(wakeups)
        return answer
    }

    /// The bytes of a whole block.
    private func bytes(of contents: BlockContents) -> BufferSlice {
        if case .bytes(let slice) = contents { return slice }
        let writer = pool.writer(count: geometry.blockSize)
        writer.unsafeMutableBytes.initializeMemory(as: UInt8.self, repeating: 0)
        return BufferSlice(writer.freeze(count: geometry.blockSize))
    }

    /// The number of the last write that what the slot of `block` holds now comes after; under the lock.
    ///
    /// While the block is being zeroed, that of a moment before: what an upload or a fetch brings may be older than the zeroing, which
    /// must not count as known to the store because of it.
    func lastWrite(of block: BlockNumber, _ intents: [UInt64: ZeroIntent]) -> CacheMark {
        intents.values.reduce(storage.mark) { $1.blocks.contains(block) ? min($0, $1.mark) : $0 }
    }
}
