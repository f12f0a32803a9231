// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
public import DataPath
public import Logging
internal import ObjectStores

/// Lists the objects of a volume once, in the background, and tells listeners which blocks exist and which do not.
///
/// Where the names of blocks are their numbers, a page shows a range of the disk, and what is missing in it is told with the
/// page. Hashed names scatter the blocks: which of them a page would have shown could only be found by hashing every block of
/// the volume, once for each page. So there each page tells what exists, and the end of the survey tells of all others that they
/// do not.
///
/// What the store shows is not told of two kinds of blocks. A watched block (``Settlement``) may be listed as a late attempt has
/// left it. And block 0 is told to exist, but not with which version: a body of zeros reads as ``BlockVersion/zero``.
///
/// A request that fails after all its retries is made again after a pause, for as long as the volume is mounted; a refusal ends
/// the survey. Reads and writes never wait for it.
///
/// - Concurrency: runs once; see ``run()``.
/// - Source: the option `--listBlocks`; Docs/Architecture.md "The survey".
public struct Survey: Sendable {
    /// How long after a failure a page is asked for again.
    static let retryPause = Duration.seconds(60)
    /// How many blocks are told at once to be absent at the end, with hashed names: it must not hold up reads for long.
    static let closingBlocksMax = 1 << 16

    private let volume: DirectVolume
    private let spansMax: Int
    private let listeners: [any SurveyListener]
    private let timeline: any Timeline
    private let logger: Logger

    /// Prepares a survey; nothing is sent yet.
    ///
    /// - Parameters:
    ///   - spansMax: How many requests are in flight at most; at least 1.
    ///   - listeners: Told every page, one after the other.
    public init(
        of volume: DirectVolume, spansMax: Int, listeners: [any SurveyListener], timeline: any Timeline, logger: Logger
    ) {
        precondition(spansMax >= 1, "a survey that asks nothing never ends")
        self.volume = volume
        self.spansMax = spansMax
        self.listeners = listeners
        self.timeline = timeline
        self.logger = logger
    }

    /// Surveys the volume; returns when everything was listed, when that was refused, or soon after the task was cancelled.
    public func run() async {
        logger.info("starting non-zero block survey")
        for listener in listeners { listener.surveyBegan() }
        let outcome = await listAll()
        if case .completed = outcome, volume.keys.isHashed { await close() }
        for listener in listeners { listener.surveyEnded() }
        switch outcome {
        case .completed(let count): logger.info("non-zero block survey completed (\(count) non-zero blocks reported)")
        case .cancelled: logger.info("non-zero block survey canceled")
        case .failed(let error):
            logger.warning(
                "non-zero block survey failed; the mount goes on without it", metadata: ["cause": "\(error.message)"])
        }
    }

    // MARK: Requests

    private enum Outcome: Sendable {
        case completed(blockCount: Int)
        case cancelled
        case failed(ObjectStoreError)
    }

    /// What came of a request.
    private enum Answer: Sendable {
        /// A page, and the blocks that were watched when it was asked for.
        case page(SurveyPlan.Span, ObjectListPage, watched: Set<BlockNumber>)
        case failure(SurveyPlan.Span, ObjectStoreError)
    }

    private func listAll() async -> Outcome {
        await withTaskGroup(of: Answer.self) { group in
            defer { group.cancelAll() }
            var plan = SurveyPlan(keys: volume.keys, blockCount: volume.geometry.blockCount, spansMax: spansMax)
            var blockCount = 0
            var hasWarned = false
            while true {
                guard !Task.isCancelled else { return .cancelled }
                while let span = plan.next() { group.addTask { await self.ask(for: span, after: .zero) } }
                switch await group.next() {
                case nil: return .completed(blockCount: blockCount)
                case .page(let span, let page, let watched)?:
                    blockCount += tell(page, plan.answered(span, by: page), watched)
                case .failure(let span, let error)?:
                    guard !Task.isCancelled else { return .cancelled }
                    guard Self.mayPass(error.code) else { return .failed(error) }
                    logger.log(
                        level: hasWarned ? .debug : .warning,
                        "a page of the non-zero block survey failed; it is asked for again until it comes",
                        metadata: ["cause": "\(error.message)"])
                    hasWarned = true
                    group.addTask { await self.ask(for: span, after: Self.retryPause) }
                }
            }
        }
    }

    private func ask(for span: SurveyPlan.Span, after pause: Duration) async -> Answer {
        do throws(ObjectStoreError) {
            if pause > .zero { try await sleep(pause) }
            // Now, not when the page comes: a watch that ends meanwhile was not over when the page was made.
            let watched = volume.settlement.watchedBlocks
            let page = try await volume.store.list(
                prefix: volume.keys.prefix + span.digits, after: span.after, limit: SurveyPlan.pageMax, .background)
            return .page(span, page, watched: watched)
        } catch {
            return .failure(span, error)
        }
    }

    private func sleep(_ pause: Duration) async throws(ObjectStoreError) {
        do {
            try await timeline.sleep(until: timeline.now + pause)
        } catch {
            throw ObjectStoreError(.cancelled, "the survey was cancelled", outcomeIsUnknown: false, cause: error)
        }
    }

    /// Whether a failure may be over some time later.
    private static func mayPass(_ code: ObjectStoreError.Code) -> Bool {
        switch code {
        case .stale, .slowDown, .serverError, .notS3, .malformedAnswer, .timedOut, .connectFailed, .hostUnknown, .connectionLost,
            .outOfMemory, .clockSkewed:
            true
        case .noSuchBucket, .unauthorized, .forbidden, .preconditionFailed, .redirected, .notImplemented, .badRequest,
            .unexpectedStatus, .noSpace, .io, .fenced, .cancelled:
            false
        }
    }

    // MARK: Listeners

    /// Tells a page.
    ///
    /// - Parameter codes: Those that it went on.
    /// - Returns: How many blocks of the volume it shows.
    private func tell(_ page: ObjectListPage, _ codes: Range<UInt64>, _ watched: Set<BlockNumber>) -> Int {
        let end = volume.geometry.allBlocks.upperBound
        var present: [SurveyPage.Block] = []
        for entry in page.entries {
            // Another program's objects may share the prefix, and a volume that was made smaller leaves blocks behind.
            guard let block = volume.keys.block(named: entry.key), block < end else { continue }
            let isKnown = block != BlockObject.first && !watched.contains(block)
            present.append(SurveyPage.Block(block, isKnown ? BlockObject.version(entry.eTag) : .unknown))
        }
        let covered = volume.keys.isHashed ? end..<end : BlockNumber(codes.lowerBound)..<BlockNumber(codes.upperBound)
        let told = SurveyPage(covered: covered, present: present, unclear: watched.sorted())
        for listener in listeners { listener.surveyAnswered(told) }
        return present.count
    }

    /// Tells of all blocks that no page has shown that they are absent.
    private func close() async {
        let all = volume.geometry.allBlocks
        var start = all.lowerBound
        while start < all.upperBound, !Task.isCancelled {
            let end = min(all.upperBound, start.advanced(by: min(Self.closingBlocksMax, start.distance(to: all.upperBound))))
            let told = SurveyPage(covered: start..<end, present: [], unclear: [])
            for listener in listeners { listener.surveyAnswered(told) }
            start = end
            await Task.yield()
        }
    }
}
