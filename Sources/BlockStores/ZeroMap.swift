// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
internal import Synchronization

/// Remembers which blocks are zeros, so that reading or zeroing them again costs no request.
///
/// One bit for each block, learnt from what passes by: from reads that found zeros and from mutations that made them; and from a
/// survey, which shows which blocks have no object. What is not known is asked below. The rules that keep the bits true are those of
/// ``ZeroMap/StateMachine``.
///
/// Bytes that happen to be all zeros, read or written, become ``BlockContents/zero`` here.
///
/// - Concurrency: as ``BlockStore``. One lock, never held over a call below; a known zero is answered without an allocation.
/// - Source: Docs/Semantics.md "Zeros".
public final class ZeroMap: BlockStore {
    private let next: any BlockStore
    private let state: Mutex<StateMachine>

    /// The sizes of the store below.
    public let geometry: BlockGeometry

    /// Knows nothing yet of what is in `next`.
    public init(over next: any BlockStore) {
        self.next = next
        geometry = next.geometry
        state = Mutex(StateMachine(blockCount: next.geometry.blockCount))
    }

    /// The counters since the last reset, and how many blocks are known to be zero.
    public var statistics: ZeroMapStatistics { state.withLock { $0.statistics } }

    /// Sets the counters of hits to 0. What is known stays known.
    public func resetStatistics() { state.withLock { $0.resetStatistics() } }

    /// Reads one block; a known zero needs nobody else. See ``BlockStore/read(_:ifNot:_:)``.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        let ticket: StateMachine.ReadTicket? = state.withLock { state in
            state.answersRead(of: block) ? nil : state.beginRead(of: block)
        }
        guard let ticket else { return known == .zero ? .unchanged : .block(.zero, .zero) }
        let answer: BlockRead
        do {
            answer = try await next.read(block, ifNot: known, context)
        } catch {
            state.withLock { $0.endRead(of: block, ticket, foundZero: false) }
            throw error
        }
        let foundZero = Self.isZero(answer, known: known)
        state.withLock { $0.endRead(of: block, ticket, foundZero: foundZero) }
        if foundZero, case .block(_, let version) = answer { return .block(.zero, version) }
        return answer
    }

    /// Answers for a known zero, else asks below; see ``BlockStore/readNow(_:)``.
    public func readNow(_ block: BlockNumber) -> BlockContents? {
        if state.withLock({ $0.answersRead(of: block) }) { return .zero }
        return next.readNow(block)
    }

    /// Looks at the map, then below; see ``BlockStore/isKnownZero(_:for:)``.
    public func isKnownZero(_ block: BlockNumber, for use: ZeroUse) -> Bool {
        state.withLock { $0.isZero(block, for: use) } || next.isKnownZero(block, for: use)
    }

    /// Writes one block; zeros over a known zero need nobody else. See ``BlockStore/write(_:to:_:)``.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        let isZero = contents.isAllZeros
        guard state.withLock({ $0.beginWrite(to: block, writesZeros: isZero) }) else { return .zero }
        let version: BlockVersion
        do {
            version = try await next.write(isZero ? .zero : contents, to: block, context)
        } catch {
            state.withLock { $0.endWrite(to: block, .failed) }
            throw error
        }
        state.withLock { $0.endWrite(to: block, isZero ? .zero : .data) }
        return version
    }

    /// Zeroes those of `blocks` that are not known to be zero; see ``BlockStore/zero(_:_:)``.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        guard let (unknown, number) = state.withLock({ $0.beginZero(blocks) }) else { return }
        do {
            try await next.zero(unknown, context)
        } catch {
            state.withLock { $0.endZero(number, succeeded: false) }
            throw error
        }
        state.withLock { $0.endZero(number, succeeded: true) }
    }

    /// Passes the scope down: a bit is a memory, not a promise. See ``BlockStore/flush(_:)``.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        try await next.flush(scope)
    }

    /// Lays the known zeros over the answer from below; see ``BlockStore/extents(in:)``.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        let below = try await next.extents(in: blocks)
        return state.withLock { state in
            var extents: [BlockExtent] = []
            for extent in below {
                guard extent.kind == .data else {
                    extents.append(extent.blocks, .zero)
                    continue
                }
                state.forEachRun(in: extent.blocks) { extents.append($0, $1 ? .zero : .data) }
            }
            return extents
        }
    }

    private static func isZero(_ answer: BlockRead, known: BlockVersion?) -> Bool {
        switch answer {
        case .unchanged: known == .zero
        case .block(let contents, _): contents.isAllZeros
        }
    }
}

extension ZeroMap: SurveyListener {
    /// Begins to note which blocks are changed beside the survey.
    public func surveyBegan() { state.withLock { $0.beginSurvey() } }

    /// Learns the zeros that a page shows; reads know them at once.
    public func surveyAnswered(_ page: SurveyPage) { state.withLock { $0.learn(page) } }

    /// Gives the memory of the survey back; what was learnt stays.
    public func surveyEnded() { state.withLock { $0.endSurvey() } }
}

/// What a ``ZeroMap`` has done and knows.
public struct ZeroMapStatistics: Hashable, Sendable {
    /// How many blocks are known to be zero at present.
    public let size: UInt64
    /// Blocks read, now or by a request, that needed nobody else.
    public let readHits: UInt64
    /// Blocks zeroed that were known to be zero.
    public let writeHits: UInt64

    /// Describes a zero map.
    public init(size: UInt64, readHits: UInt64, writeHits: UInt64) {
        self.size = size
        self.readHits = readHits
        self.writeHits = writeHits
    }
}
