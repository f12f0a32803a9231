// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores

/// How a mutation becomes requests: block 0 first, then the fence, then PUT or DELETE, then the books.
extension DirectVolume {
    /// Gives each of `blocks` the same contents, once block 0 has an object.
    ///
    /// - Parameter blocks: One block, or several that become zero and of which none is block 0; at most ``deleteKeysMax``.
    /// - Returns: The tag of the object written; nil for a delete.
    func change(
        _ blocks: [BlockNumber], to contents: BlockContents, _ context: IOContext
    ) async throws(BlockStoreError) -> ETag? {
        guard blocks == [BlockObject.first] else {
            try await makeFirstBlock(context)
            let begun = try await request(blocks, to: contents, .none, context)
            return try await settle(begun, context)
        }
        while true {
            switch await firstBlock.enter() {
            // Somebody else could not make an empty block 0; this is another request, so it is tried all the same.
            case .failed: continue
            case .present:
                let begun = try await request(blocks, to: contents, .none, context)
                return try await settle(begun, context)
            case .mine:
                let begun = try await placing { () async throws(BlockStoreError) in
                    // Else this PUT would record the wrong sizes over the right ones.
                    if self.checksSizes { _ = try await self.isFirstBlockPresent(context) }
                    return try await self.request(blocks, to: contents, .none, context)
                }
                return try await settle(begun, context)
            }
        }
    }

    /// Makes an object of zeros for block 0, with the sizes, if it has none; asks the store at most once in the volume's life.
    ///
    /// The HEAD in front is for stores that ignore `If-None-Match`: there the PUT would overwrite an existing block 0.
    private func makeFirstBlock(_ context: IOContext) async throws(BlockStoreError) {
        switch await firstBlock.enter() {
        case .present: return
        case .failed(let failure):
            if failure.code == .cancelled { return try await makeFirstBlock(context) }
            throw failure
        case .mine: break
        }
        // Settled before anybody else has its turn: a late confirmation of these zeros would undo a write of block 0.
        try await placing { () async throws(BlockStoreError) in
            guard try await !self.isFirstBlockPresent(context) else { return }
            let begun: Begun
            do throws(BlockStoreError) {
                begun = try await self.request([BlockObject.first], to: .zero, .ifAbsent, context)
            } catch {
                guard error.code == .stale else { throw error }
                // Somebody made it since we looked; that is all we wanted. But S3 also refuses while another request for the
                // object is under way, and that one may come to nothing.
                if try await self.isFirstBlockPresent(context) { return }
                throw BlockStoreError(.io, "\(error.message); it does not exist all the same", cause: error)
            }
            _ = try await self.settle(begun, context)
        }
    }

    /// Runs `body` as the one that makes block 0, and passes its end on to whoever waits.
    private func placing<Result>(
        _ body: () async throws(BlockStoreError) -> Result
    ) async throws(BlockStoreError) -> Result {
        do {
            let result = try await body()
            firstBlock.leave(nil)
            return result
        } catch {
            firstBlock.leave(error)
            throw error
        }
    }

    /// A mutation that was answered, and what it has to do yet.
    struct Begun: Sendable {
        let blocks: [BlockNumber]
        let expected: Settlement.Expectation
        let verdict: SettlementStateMachine.Verdict
    }

    /// Sends one mutation, with the fence before it and the books after it.
    private func request(
        _ blocks: [BlockNumber], to contents: BlockContents, _ condition: PutCondition, _ context: IOContext
    ) async throws(BlockStoreError) -> Begun {
        try await fence?.permit(context)
        await settlement.beginMutation(of: blocks)
        let beganAt = timeline.now
        do {
            let mutation = try await send(blocks, contents, condition, context)
            if !mutation.isSettled { fence?.noteFailure() }
            counters.add(blocks.count, to: contents.isZero ? \.zeroBlocksWritten : \.normalBlocksWritten)
            let verdict = settlement.endMutation(of: blocks, to: contents, mutation, beganAt: beganAt)
            return Begun(blocks: blocks, expected: .init(contents: contents, eTag: mutation.eTag), verdict: verdict)
        } catch {
            fence?.noteFailure()
            settlement.failMutation(of: blocks, isUnknown: error.outcomeIsUnknown)
            let what = contents.isZero ? "zero" : "write"
            throw BlockStoreError(error, doing: what + " " + describe(blocks))
        }
    }

    /// The request itself.
    func send(
        _ blocks: [BlockNumber], _ contents: BlockContents, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        if contents.isZero, blocks != [BlockObject.first] {
            return try await store.delete(blocks.map { keys.key(of: $0) }, context)
        }
        precondition(blocks.count == 1, "each object has its own body")
        let form = await encode(BlockObject.body(contents, geometry), of: blocks[0])
        var metadata = BlockObject.metadata(of: blocks[0], geometry)
        metadata.contentEncoding = form.contentEncoding
        metadata.user.merge(form.user) { sizes, _ in sizes }
        return try await store.put(keys.key(of: blocks[0]), form.body, metadata, condition, context)
    }

    /// `block 00000003 (object "vm/00000003")`, or the first of several.
    func describe(_ blocks: [BlockNumber]) -> String {
        let first = "\(blocks[0]) (object \"\(keys.key(of: blocks[0]))\")"
        return blocks.count == 1 ? "block \(first)" : "\(blocks.count) blocks from \(first) on"
    }
}
