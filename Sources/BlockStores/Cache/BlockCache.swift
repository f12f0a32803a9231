// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
public import DataPath
public import Logging
internal import Synchronization

/// The block cache: answers reads from what it holds, takes writes at once and brings them to the store later, in parallel.
///
///     write   ->  sectors in a slot, dirty           ->  acknowledged
///                 write delay, flush, or room wanted  ->  upload: missing sectors fetched, whole block sent  ->  clean
///     read    ->  held: copied                        |  not held: fetched once for all who wait, then held
///     zero    ->  slot given up, block is zeros here  ->  acknowledged; DELETE in batches later
///
/// What is held, what may be copied, what is sent next is decided by ``CacheStateMachine``; this class asks it under a lock and
/// does what it says outside: copies from and to ``CacheStorage``, requests to the store below, waiting.
///
/// Everything sent to the store belongs to ``run()``, not to the request that caused it: cancelling a request ends its wait only.
///
/// - Concurrency: as ``PartialBlockStore``. The lock is never held over I/O or a copy.
/// - Source: Docs/Semantics.md "The block cache"; Docs/Architecture.md.
public final class BlockCache: PartialBlockStore {
    /// What the lock guards.
    struct State {
        /// What is held, and what is to be done.
        var machine: CacheStateMachine
        /// Which streams read, and what they will want.
        var readAhead: ReadAhead
        /// True: the copy may go on. False: start over.
        var copiers = Parking<Bool>()
        /// Whoever waits for a block from the store.
        var fetchers = Parking<FetchAnswer>()
        /// Who waits for which block.
        var fetchersOf: [BlockNumber: [UInt64]] = [:]
        /// What raises the fetches that were begun before anybody waited for them.
        var escalations: [BlockNumber: IOEscalation] = [:]
        /// Whoever waits for room.
        var writers = Parking<RoomAnswer>()
        /// The writers that wait for room, first come first.
        var writersInLine = FIFOQueue<UInt64>()
        /// How many of them were let go on and have not asked again: there is room for them.
        var admittedCount = 0
        /// Whoever waits until a block's older slots are released, and for which block.
        var successors = Parking<ReleaseAnswer>()
        var successorsOf: [BlockNumber: [UInt64]] = [:]
        /// Whoever waits for a flush.
        var flushers = Parking<FlushAnswer>()
        /// Blocks that are being zeroed: what was recorded of an earlier zeroing is kept until that is done.
        var zeroIntents: [UInt64: ZeroIntent] = [:]
        /// Blocks of which an upload found a damaged sector that the store has, and that have not reached the store since.
        var mended: Set<BlockNumber> = []
        /// Since when somebody else has the volume, as the store has said: nothing more is taken.
        var lostVolume: BlockStoreError?
        /// Since when everything is brought to the store for the end: nothing more is taken.
        var closing: BlockStoreError?
        /// Why no write and no zeroing is taken any more.
        var refusal: BlockStoreError? { lostVolume ?? closing }
        /// Whether some were let in before and are not taken yet. Copies from the store, as short, count too.
        var isTaking: Bool { !zeroIntents.isEmpty || machine.copies.contains { $0.isExclusive } }
        /// The histograms.
        var times = Times()
        /// What the log was told of failures.
        var failures = FailureLog()
    }

    /// The histograms of ``BlockCacheStatistics``.
    struct Times {
        /// One hit in so many is timed: a clock costs as much as the hit.
        static let hitsPerTiming: UInt64 = 16
        private var hits: UInt64 = 0
        /// Whether the read that is about to be answered at once is one of those; counts it.
        var isNextHitTimed: Bool {
            mutating get {
                hits &+= 1
                return hits % Self.hitsPerTiming == 0
            }
        }
        /// How long hits took; some of those answered at once stand for the others.
        var readHit = LatencyHistogram()
        /// How long reads took that asked the store.
        var readMiss = LatencyHistogram()
        /// How long successful uploads took.
        var upload = LatencyHistogram()
        /// How long flushes took.
        var flush = LatencyHistogram()
    }

    /// The sizes of the store below.
    public let geometry: BlockGeometry

    /// The store below.
    let next: any BlockStore
    /// Where the bytes are.
    let storage: any CacheStorage
    /// What the user wants.
    let settings: CacheSettings
    /// Where memory for bytes comes from.
    let pool: BufferPool
    /// The clock.
    let timeline: any Timeline
    /// For what somebody has to know.
    let logger: Logger
    /// What the lock guards.
    let state: AdaptiveMutex<State>
    /// Wakes ``run()``.
    let doorbell = Doorbell()
    /// Rings the bell at a time.
    let alarm = Alarm()
    /// The bytes of a sector.
    let sectorSize: Int

    /// Makes a cache; what `storage` holds from an earlier run is taken in.
    ///
    /// - Throws: What ``CacheStorage/restore()`` throws; `.outOfRange` when the storage has unsaved blocks beyond the end of the volume.
    public convenience init(
        over next: any BlockStore, storage: any CacheStorage, settings: CacheSettings, pool: BufferPool, timeline: any Timeline,
        logger: Logger
    ) throws(BlockStoreError) {
        try self.init(
            over: next, storage: storage, settings: settings, sectorSize: min(4096, next.geometry.blockSize), pool: pool,
            timeline: timeline, logger: logger)
    }

    /// As the public one; a test may want small blocks of several sectors.
    package init(
        over next: any BlockStore, storage: any CacheStorage, settings: CacheSettings, sectorSize: Int, pool: BufferPool,
        timeline: any Timeline, logger: Logger
    ) throws(BlockStoreError) {
        geometry = next.geometry
        self.sectorSize = sectorSize
        self.next = next
        self.storage = storage
        self.settings = settings
        self.pool = pool
        self.timeline = timeline
        self.logger = logger
        let slotCount = storage.slotCount
        var machine = CacheStateMachine(
            CacheStateMachine.Limits(
                blockCount: geometry.blockCount, sectorsPerBlock: geometry.blockSize / sectorSize, slotCount: slotCount,
                dirtyMax: min(settings.dirtyMax ?? slotCount, slotCount), protectedCount: settings.protectedCount,
                uploadsMax: settings.uploadsMax, aheadMax: max(1, settings.readAheadMax), writeDelay: settings.writeDelay,
                keptFor: settings.keptFor, failurePause: Self.failurePause, isPersistent: storage.isPersistent))
        let restored = try Self.restore(from: storage, blockCount: geometry.blockCount)
        machine.restore(
            restored.blocks, zeros: restored.zeros, isVerified: !settings.verifiesRestored, now: timeline.now)
        // As much ahead as half the cache holds, and no more: what is read ahead must still be there when it is read.
        let readAhead = ReadAhead(
            maximum: min(settings.readAheadMax, slotCount / 2), trigger: max(1, settings.readAheadTrigger),
            blockCount: geometry.blockCount)
        state = AdaptiveMutex(State(machine: machine, readAhead: readAhead))
    }

    /// How long after a failed upload the block is tried again. Each attempt has had its own repetitions below.
    static let failurePause = Duration.seconds(1)

    /// What was done since the start or the last reset, and what is held.
    public var statistics: BlockCacheStatistics {
        state.withLock { state in
            var statistics = state.machine.statistics
            statistics.readHitTimes = state.times.readHit
            statistics.readMissTimes = state.times.readMiss
            statistics.uploadTimes = state.times.upload
            statistics.flushTimes = state.times.flush
            return statistics
        }
    }

    /// Starts counting anew.
    public func resetStatistics() {
        state.withLock { state in
            state.machine.resetCounters()
            state.times = Times()
        }
    }

    /// How many blocks the store does not have as they are here, zeroed ones included.
    public var unsavedCount: Int { state.withLock { $0.machine.dirtyCount + $0.machine.pendingZeros.count } }

    // MARK: BlockStore

    /// Reads a whole block; see ``BlockStore/read(_:ifNot:_:)``. Versions are the store's, and unknown here.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        let contents = try await read(0..<geometry.blockSize, of: block, context)
        guard case .zero = contents else { return .block(contents, .unknown) }
        return known == .zero ? .unchanged : .block(.zero, .zero)
    }

    /// See ``BlockStore/readNow(_:)``.
    public func readNow(_ block: BlockNumber) -> BlockContents? { readNow(0..<geometry.blockSize, of: block) }

    /// Writes a whole block; see ``BlockStore/write(_:to:_:)``.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        guard !contents.isAllZeros else {
            try await zero(BlockSet(block..<block.advanced(by: 1)), context)
            return .zero
        }
        try await write(contents, at: 0..<geometry.blockSize, of: block, context)
        return .unknown
    }

    /// Lays what is held and what is zeroed over the answer from below; see ``BlockStore/extents(in:)``.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        let number = state.withLock { $0.machine.beginExtents() }
        do throws(BlockStoreError) {
            let below = try await next.extents(in: blocks)
            return state.withLock { $0.machine.endExtents(number, below: below) }
        } catch {
            _ = state.withLock { $0.machine.endExtents(number, below: []) }
            throw error
        }
    }

    // MARK: Sectors

    /// The sectors that bytes of a block touch.
    func sectors(touching range: Range<Int>) -> Range<Int> {
        range.lowerBound / sectorSize..<(range.upperBound + sectorSize - 1) / sectorSize
    }

    /// The bytes of sectors.
    func bytes(of sectors: Range<Int>) -> Range<Int> {
        sectors.lowerBound * sectorSize..<sectors.upperBound * sectorSize
    }

    /// Whether the store below is known to have zeros as `block`. Takes the lock of the layer below under ours; never the other way.
    func isZeroBelow(_ block: BlockNumber, for use: ZeroUse) -> Bool { next.isKnownZero(block, for: use) }
}
