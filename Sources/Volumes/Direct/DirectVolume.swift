// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
public import DataPath
internal import Logging
public import ObjectStores

/// The direct layout: one object per block, zeros are the absence of an object. Blocks in, objects out.
///
/// - **Block 0 is the exception.** It carries the volume's sizes, so it has an object as soon as anything was written: the first
///   mutation makes one if there is none, and zeroing it writes a body of zeros instead of deleting it.
/// - **Who notices zeros.** `ZeroMap` above looks at every write first. Stacks without it are right too: ``write(_:to:_:)`` looks
///   here, once, and all-zero bytes become a delete. On reads only the body of block 0 is looked at.
/// - **Late attempts.** What an unanswered attempt may still undo is watched by ``Settlement`` and confirmed by
///   ``flush(_:)``; while a block is watched, reads of it are answered from what is kept for that, not from the store.
/// - **Fencing.** Every request that changes an object first asks the ``MountTokenGuard``, when there is one.
/// - **Codecs.** What an object holds is made and read by a ``CodecStack``, on another thread than the caller's. Compressed and
///   encrypted forms are made once for each change, so that repeated attempts send the same bytes.
///
/// - Concurrency: as ``BlockStore``.
/// - Source: Docs/Formats/Direct.md.
public final class DirectVolume: BlockStore {
    /// How many keys one batch delete names; S3's limit.
    static let deleteKeysMax = 1000
    /// How many requests of one zero or one flush run at once.
    static let requestsInFlightMax = 16

    /// The metadata of every block's object but block 0's; what a store of files may take for granted.
    public static let blockMetadata = ObjectMetadata(contentType: BlockObject.contentType)

    /// The sizes.
    public let geometry: BlockGeometry

    /// The objects.
    let store: any ObjectStore
    /// What the bytes of a block become in an object.
    let codec: CodecStack
    /// Where the codecs run; nil for the executor of the caller.
    let computing: (any TaskExecutor)?
    /// What the objects of blocks are called.
    let keys: BlockKeyScheme
    /// The watch over blocks that a late attempt may still change.
    let settlement: Settlement
    /// Lets the first mutation make block 0, and the others wait for it.
    let firstBlock: FirstBlockGate
    /// Whether the sizes were not detected, and are compared with block 0 before the first change.
    let checksSizes: Bool
    /// Asked before each change; nil where no mount token is held.
    let fence: MountTokenGuard?
    /// See ``statistics``.
    let counters = DirectCounters()
    /// The clock of all waits.
    let timeline: any Timeline
    /// Where repairs and waits are told.
    let logger: Logger

    /// Opens the blocks of a volume.
    ///
    /// - Parameters:
    ///   - computing: Where blocks are encoded and decoded; nil for the executor of the caller.
    ///   - isFirstBlockPresent: Whether block 0 is known to have an object. False only costs the first mutation a HEAD.
    ///   - checksSizes: Whether the first change compares the sizes that block 0 records with these, and fails where they differ:
    ///     for a volume that was opened without a look at it.
    ///   - fence: What stops mutations once the volume is not ours any more; nil where nobody else can have it.
    init(
        over next: any ObjectStore, keys: BlockKeyScheme, geometry: BlockGeometry, codec: CodecStack,
        computing: (any TaskExecutor)? = nil, isFirstBlockPresent: Bool, checksSizes: Bool, fence: MountTokenGuard?,
        limits: SettlementLimits, timeline: any Timeline, logger: Logger
    ) {
        self.store = next
        self.codec = codec
        self.computing = computing
        self.keys = keys
        self.geometry = geometry
        self.firstBlock = FirstBlockGate(isPresent: isFirstBlockPresent)
        self.checksSizes = checksSizes
        self.fence = fence
        self.settlement = Settlement(limits: limits, timeline: timeline)
        self.timeline = timeline
        self.logger = logger
    }

    /// What was done since the start or the last reset.
    public var statistics: DirectStatistics { counters.snapshot }

    /// Starts counting anew.
    public func resetStatistics() { counters.reset() }

    /// How many blocks have to be confirmed, or may still change, because an attempt on them got no answer.
    public var unsettledBlockCount: Int { settlement.unsettledCount }

    /// Reads one block: a GET, or what is kept of a watched block.
    ///
    /// - Throws: `.corrupt` when the object is not the form of a block that the codecs read; else as ``BlockStore``.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        check(block)
        let known = known == .unknown ? nil : known
        if let kept = settlement.expected(of: block) {
            let version = kept.contents.isZero ? .zero : BlockObject.version(kept.eTag)
            return count(known == version && version != .unknown ? .unchanged : .block(kept.contents, version), known)
        }
        return count(try await fetch(block, ifNot: known, context), known)
    }

    /// Nothing is known without asking the store.
    ///
    /// - Returns: Nil.
    public func readNow(_ block: BlockNumber) -> BlockContents? { nil }

    /// Writes one block: a PUT; a DELETE for zeros, block 0 excepted.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        check(block)
        if case .bytes(let slice) = contents {
            precondition(slice.count == geometry.blockSize, "a block is written whole")
        }
        let contents = contents.isAllZeros ? .zero : contents
        let eTag = try await change([block], to: contents, context)
        return contents.isZero ? .zero : BlockObject.version(eTag)
    }

    /// Zeroes blocks: a batch DELETE per 1,000; a PUT of zeros for block 0.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        guard !blocks.isEmpty else { return }
        for range in blocks.ranges { check(range.upperBound.advanced(by: -1)) }
        var rest = blocks
        if rest.contains(BlockObject.first) {
            _ = try await change([BlockObject.first], to: .zero, context)
            rest.remove(contentsOf: BlockObject.first..<BlockObject.first.advanced(by: 1))
        }
        try await concurrently(Self.chunks(of: rest)) { (chunk) async throws(BlockStoreError) in
            _ = try await self.change(chunk, to: .zero, context)
        }
    }

    /// Confirms the blocks in `scope` that a late attempt may have changed; every other mutation was durable when it returned.
    ///
    /// Costs no request when every attempt was answered, which is the rule.
    ///
    /// - Throws: `.fenced` when the volume is not ours any more; else why a block could not be confirmed.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        try fence?.failIfLost()
        try await confirm(settlement.pending(in: scope), .foreground)
    }

    /// Everything may be data: which objects exist is not known here.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        blocks.isEmpty ? [] : [BlockExtent(blocks: blocks, kind: .data)]
    }

    // MARK: Reading

    private func fetch(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        let key = keys.key(of: block)
        var ifNoneMatch: ETag?
        if case .tag(let text)? = known { ifNoneMatch = ETag(text) }
        let answer: ObjectRead
        do {
            answer = try await store.get(key, range: nil, ifMatch: nil, ifNoneMatch: ifNoneMatch, context)
        } catch {
            fence?.noteFailure()
            throw BlockStoreError(error, doing: "read block \(block) (object \"\(key)\")")
        }
        switch answer {
        case .unchanged where ifNoneMatch != nil: return .unchanged
        case .unchanged:
            throw BlockStoreError(.io, "cannot read block \(block): object \"\(key)\" is said to be unchanged, unasked")
        case .absent: return known == .zero ? .unchanged : .block(.zero, .zero)
        case .object(let object):
            let bytes: BufferSlice
            do {
                bytes = try await decode(object, of: block)
            } catch {
                throw BlockStoreError(
                    .corrupt, "cannot read block \(block) (object \"\(key)\"): \(error.message)", cause: error)
            }
            if block == BlockObject.first, bytes.isAllZeros { return known == .zero ? .unchanged : .block(.zero, .zero) }
            return .block(.bytes(bytes), BlockObject.version(object.attributes.eTag))
        }
    }

    private func count(_ answer: BlockRead, _ known: BlockVersion?) -> BlockRead {
        switch answer {
        case .unchanged: counters.add(to: \.verified)
        case .block(let contents, _):
            if known != nil { counters.add(to: \.mismatch) }
            counters.add(to: contents.isZero ? \.zeroBlocksRead : \.normalBlocksRead)
        }
        return answer
    }

    private func check(_ block: BlockNumber) {
        precondition(block < geometry.allBlocks.upperBound, "the block lies on the disk")
    }

    /// Cuts a set into what one batch delete takes, one piece at a time.
    static func chunks(of blocks: BlockSet) -> some Sequence<[BlockNumber]> {
        sequence(state: blocks.blocks.makeIterator()) { iterator in
            var chunk: [BlockNumber] = []
            while chunk.count < deleteKeysMax, let block = iterator.next() { chunk.append(block) }
            return chunk.isEmpty ? nil : chunk
        }
    }
}

extension BlockContents {
    /// Whether these contents are the value zero; looks at no bytes.
    var isZero: Bool {
        if case .zero = self { true } else { false }
    }
}
