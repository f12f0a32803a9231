// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import Logging
internal import ObjectStores

/// How watched blocks are confirmed: a HEAD each, and the block again where the object is not what it shall be. Zeros are simply
/// deleted again, a thousand per request: that looks and mends in one.
extension DirectVolume {
    /// Confirms watched blocks whose hazard has ended, so that they need not be watched any more.
    ///
    /// Called now and then in the background: it ends the damage that a late attempt may have done after the last flush.
    ///
    /// - Throws: Why a block could not be confirmed; it stays watched.
    func confirmOverdue() async throws(BlockStoreError) { try await confirm(settlement.overdue(), .background) }

    /// Waits until no attempt can arrive any more, then confirms; the last act before the mount token is given back.
    ///
    /// Attempts of mutations that failed count too: after the token is gone they could undo what the next mount writes.
    ///
    /// - Throws: Why a block could not be confirmed; `.cancelled`.
    func settleAll() async throws(BlockStoreError) {
        while let hazardEnds = settlement.lastHazardEnd {
            if hazardEnds > timeline.now {
                logger.notice(
                    "waiting until unanswered requests can no longer arrive",
                    metadata: [
                        "blocks": "\(settlement.unsettledCount)", "seconds": "\((hazardEnds - timeline.now).components.seconds)",
                    ])
            }
            try await sleep(until: hazardEnds)
            try await flush(.everything)
        }
    }

    /// Confirms `blocks`, those still watched by then.
    func confirm(_ blocks: [BlockNumber], _ context: IOContext) async throws(BlockStoreError) {
        var pending = blocks
        while !pending.isEmpty {
            let claims = await settlement.claim(&pending)
            let zeros = claims.filter { $0.expected.contents.isZero && $0.block != BlockObject.first }
            let others = claims.filter { !($0.expected.contents.isZero && $0.block != BlockObject.first) }
            var work = others.map { [$0] }
            for start in stride(from: 0, to: zeros.count, by: Self.deleteKeysMax) {
                work.append(Array(zeros[start..<min(start + Self.deleteKeysMax, zeros.count)]))
            }
            // Every claim is worked on, so that every claim ends; the first failure is thrown after the last end.
            let failures = await outcomes(work) { (claims) async throws(BlockStoreError) in
                try await self.confirm(claims, context)
            }
            if let failure = failures.first { throw failure }
        }
    }

    /// Confirms one block, or several zeros.
    private func confirm(_ claims: [Settlement.Claim], _ context: IOContext) async throws(BlockStoreError) {
        let blocks = claims.map(\.block)
        let beganAt = timeline.now
        do {
            let outcome = try await confirmOrMend(blocks, claims[0].expected, context)
            settlement.endConfirmation(of: blocks, outcome, beganAt: beganAt)
        } catch {
            fence?.noteFailure()
            let isUnknown = (error.cause as? ObjectStoreError)?.outcomeIsUnknown ?? false
            settlement.endConfirmation(of: blocks, .failed(outcomeIsUnknown: isUnknown), beganAt: beganAt)
            throw error
        }
    }

    /// Looks at the objects of `blocks`, and writes or deletes them again where they are not `expected`.
    private func confirmOrMend(
        _ blocks: [BlockNumber], _ expected: Settlement.Expectation, _ context: IOContext
    ) async throws(BlockStoreError) -> SettlementStateMachine.Confirmation {
        let isDelete = expected.contents.isZero && blocks != [BlockObject.first]
        do {
            if !isDelete {
                if try await holds(expected, blocks[0], context) { return .matched }
                logger.warning(
                    "an older request has arrived late and changed a block; writing the block again",
                    metadata: ["block": "\(blocks[0])"])
            }
        } catch {
            throw BlockStoreError(error, doing: "confirm " + describe(blocks))
        }
        // What looks like a late attempt of ours may be the write of a mount that has taken over: the token is read first.
        fence?.noteFailure()
        try await fence?.permit(context)
        do {
            let mutation = try await send(blocks, expected.contents, .none, context)
            if !mutation.isSettled { fence?.noteFailure() }
            if !isDelete { counters.add(to: \.mended) }
            return .mended(mutation)
        } catch {
            throw BlockStoreError(error, doing: (isDelete ? "zero " : "write ") + describe(blocks) + " again")
        }
    }

    /// Whether the object of `block` holds what it shall.
    private func holds(
        _ expected: Settlement.Expectation, _ block: BlockNumber, _ context: IOContext
    ) async throws(ObjectStoreError) -> Bool {
        do throws(ObjectStoreError) {
            let key = keys.key(of: block)
            if let eTag = expected.eTag, BlockObject.isStrong(eTag) {
                guard case .present(let attributes) = try await store.head(key, context) else { return false }
                return attributes.eTag == eTag
            }
            // Without a tag that tells bytes apart, the bytes themselves are compared.
            let answer = try await store.get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, context)
            guard case .object(let object) = answer else { return false }
            return await isForm(object, of: expected.contents, at: block)
        } catch {
            // Known by the layers below to be something else than was written last, which is what is asked here. They may have
            // forgotten the attempt that brought it, and insist on the last write even to a HEAD.
            guard error.code == .stale else { throw error }
            return false
        }
    }

    /// Whether `object` is a stored form of `contents`.
    private func isForm(_ object: Object, of contents: BlockContents, at block: BlockNumber) async -> Bool {
        let wanted = BlockObject.body(contents, geometry)
        do throws(CodecError) {
            let found = try await decode(object, of: block)
            return found.withBytes { found in wanted.withBytes { found.elementsEqual($0) } }
        } catch {
            return false  // what cannot be read is not what was written
        }
    }

    /// Ends a mutation: at once, or, where there was no room to watch its blocks, when they are confirmed.
    ///
    /// - Returns: The tag of the object.
    func settle(_ begun: Begun, _ context: IOContext) async throws(BlockStoreError) -> ETag? {
        guard case .mustConfirm(var moment) = begun.verdict else { return begun.expected.eTag }
        var expected = begun.expected
        do {
            while true {
                try await sleep(until: moment)
                let isSettled: Bool
                switch try await confirmOrMend(begun.blocks, expected, context) {
                case .mended(let mutation):
                    expected.eTag = mutation.eTag
                    isSettled = mutation.isSettled
                case .matched, .failed: isSettled = true
                }
                if isSettled { break }
                moment = timeline.now + settlement.window
            }
        } catch {
            settlement.endLoneConfirmation(of: begun.blocks, isConfirmed: false)
            throw error
        }
        settlement.endLoneConfirmation(of: begun.blocks, isConfirmed: true)
        return expected.eTag
    }

    private func sleep(until deadline: Duration) async throws(BlockStoreError) {
        do {
            try await timeline.sleep(until: deadline)
        } catch {
            throw BlockStoreError(.cancelled, "cannot wait until late requests have arrived: cancelled", cause: error)
        }
    }

    // MARK: Several at once

    /// Runs `body` for each of `items`, a bounded number at once; starts no more after a failure.
    func concurrently<Item: Sendable>(
        _ items: some Sequence<Item>, _ body: @escaping @Sendable (Item) async throws(BlockStoreError) -> Void
    ) async throws(BlockStoreError) {
        if let failure = await run(items, stopsAtFailure: true, body).first { throw failure }
    }

    /// Runs `body` for each of `items`, a bounded number at once, all of them.
    private func outcomes<Item: Sendable>(
        _ items: some Sequence<Item>, _ body: @escaping @Sendable (Item) async throws(BlockStoreError) -> Void
    ) async -> [BlockStoreError] {
        await run(items, stopsAtFailure: false, body)
    }

    /// - Returns: The failures, in the order in which they came.
    private func run<Item: Sendable>(
        _ items: some Sequence<Item>, stopsAtFailure: Bool,
        _ body: @escaping @Sendable (Item) async throws(BlockStoreError) -> Void
    ) async -> [BlockStoreError] {
        await withTaskGroup(of: BlockStoreError?.self) { group in
            var failures: [BlockStoreError] = []
            var inFlight = 0
            for item in items {
                if inFlight == Self.requestsInFlightMax {
                    if let failure = await group.next() ?? nil { failures.append(failure) }
                    inFlight -= 1
                }
                if stopsAtFailure, !failures.isEmpty { break }
                group.addTask {
                    do throws(BlockStoreError) {
                        try await body(item)
                        return nil
                    } catch {
                        return error
                    }
                }
                inFlight += 1
            }
            for await failure in group { if let failure { failures.append(failure) } }
            return failures
        }
    }
}
