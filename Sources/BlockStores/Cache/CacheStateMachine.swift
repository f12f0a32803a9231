// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What the cache knows and decides: which block is where, in which state, who may copy, what is sent next. No I/O, no lock, no clock.
///
/// A block is *held* when it has a slot. Its state is that of its slot, together with two things that are kept by block, since
/// they outlive the slot: an upload in flight, and a zeroing that the store has not seen.
///
/// ```
/// from         event                                      to
/// -----------  -----------------------------------------  ------------------------------------------------------------
/// free         write begins, there is room                filling
/// free         fetch ends with data, or a writer waits    filling
///              for it; there is room
/// free         restored at the start                      clean or dirty; what is clean is unverified, unless
///                                                         verification is off
/// filling      write ends                                 dirty; waiting if its block has a mutation in flight
/// filling      fill ends                                  clean
/// filling      write or fill fails                        released
/// filling      block zeroed                               detached, since it is being copied
/// clean        write ends                                 dirty
/// clean        least recently used and settled, room is   filling (for another block)
///              needed
/// clean        unused for too long, or unreadable         released
/// clean        block zeroed                               released, or detached while copies run
/// dirty        due, flushed, or room is needed            uploading
/// dirty        block zeroed                               released, or detached while copies run
/// uploading    write ends                                 uploading, and dirty again behind it
/// uploading    upload succeeds                            clean; dirty if it was written since
/// uploading    upload fails                               dirty, due after a pause
/// uploading    block zeroed                               as dirty; the upload goes on without a slot, and zeroing waits for it
/// waiting      mutation in flight ends                    dirty
/// waiting      block zeroed                               as dirty
/// detached     last copy ends                             released
/// released     the storage has recorded it                quarantined if persistent and not settled, else free
/// released     the storage has failed to record it        released, and told again after a pause
/// quarantined  a commit that began afterwards succeeds    free
/// ```
///
/// Zeroing a block, held or not, leaves a zeroing pending; only a single block that is known to be zeros already needs none.
///
/// **Never two mutations of a block at once.** A block with an upload or a zeroing in flight is sent nothing; what became dirty
/// meanwhile waits for the outcome.
///
/// **Flush.** Every dirtiness belongs to an epoch. A flush ends the epoch, so that it waits for what came before it only.
/// Whoever replaces older dirtiness (a zeroing, a write over a pending zeroing) inherits its epoch.
///
/// **Copies** move bytes between a caller and a slot, outside of any lock. Two overlap only if both read; who comes first goes
/// first, so an upload that takes its snapshot is not starved by writers.
///
/// **Fetches.** An answer is kept only if no mutation of its block went down, ran or was acknowledged as a zeroing since it was
/// asked for.
///
/// **One slot for a block.** Over a persistent storage a block gets no slot, and is not zeroed in the store, before the storage has
/// recorded that the block gave up those it had: else two slots would claim it after a crash.
///
/// **Settled.** Over a persistent storage a slot that held dirty bytes gets another block only after a commit that began when the
/// store had them, or when they were given up: else a crash could bring back an older record, or an older zeroing, of its block.
///
/// Memory: 24 bytes, two links and an index entry for each slot in use, two bits for each sector; the rest belongs to requests
/// in flight.
struct CacheStateMachine: Sendable {
    /// The fixed numbers.
    struct Limits: Sendable {
        /// How many blocks the disk has.
        var blockCount: Int
        /// How many sectors a block has.
        var sectorsPerBlock: Int
        /// How many blocks can be held.
        var slotCount: Int
        /// How many held blocks may be dirty before writers wait; at most `slotCount`.
        var dirtyMax: Int
        /// Blocks below this number are evicted last.
        var protectedCount: Int
        /// How many uploads and zeroings are in flight at once.
        var uploadsMax: Int
        /// How many blocks are read ahead at once.
        var aheadMax: Int
        /// How long a block stays dirty before it is sent.
        var writeDelay: Duration
        /// How long a clean block is kept unused; nil is for ever.
        var keptFor: Duration?
        /// How long after a failure an upload is tried again.
        var failurePause: Duration
        /// Whether a slot that held dirty bytes is used again only after a commit.
        var isPersistent: Bool
    }

    /// What a slot is used for; the table tells how it gets there.
    enum SlotState: UInt8, Sendable {
        /// It belongs to no block.
        case free
        /// Its block's first bytes are on their way to it.
        case filling
        /// The store has what it holds.
        case clean
        /// The store lacks something of what it holds.
        case dirty
        /// The same, and an older mutation of the block is in flight.
        case waiting
        /// What it holds is being brought to the store.
        case uploading
        /// It belongs to no block any more, but copies run.
        case detached
        /// The storage is being told that it was given up.
        case released
        /// It gets no block before a commit.
        case quarantined
    }

    /// One slot. Small: there is one for each cached block.
    struct Entry: Sendable {
        /// The block that the slot belongs to.
        var block = BlockNumber(0)
        var state = SlotState.free
        var list: List?
        /// Whether sectors that are not valid are zeros.
        var isZeroElsewhere = false
        /// Whether the sectors that are not dirty must be compared with the store before use.
        var isUnverified = false
        /// Of a dirty block: when it is due. Of a clean one: when it was used last. Microseconds.
        var time: Int64 = 0
        /// Of a dirty block: the epoch of its oldest change that no upload has taken along. Of a clean one: ``cleanSince``.
        var epoch: Epoch = 0

        /// Of a clean block that was dirty: the last number given out before it became clean, which is less than that of every
        /// commit that began afterwards; else 0. A block is never clean and dirty at once, so it takes the room of the epoch.
        var cleanSince: UInt64 {
            get { epoch }
            set { epoch = newValue }
        }
        /// Of a detached slot: whether it held something that the store did not have. Nothing else is asked of such a slot.
        var wasDirty: Bool {
            get { isUnverified }
            set { isUnverified = newValue }
        }
    }

    /// The lines that a slot can stand in.
    enum List: Int, Sendable, CaseIterable {
        /// Clean, least recently used first.
        case clean
        /// The same for protected blocks.
        case protected
        /// Clean, but not to be given away before a commit that begins now; cleaned first first.
        case unsettled
        /// Dirty, first written first.
        case dirty
        /// Dirty after a failed upload, first failed first.
        case failed
        /// Dirty and wanted by a flush.
        case urgent
    }

    /// A stretch between two flushes.
    typealias Epoch = UInt64

    /// The fixed numbers.
    let limits: Limits
    /// The slots that were ever used.
    var entries = SlotArray<Entry>()
    /// Which slot a block has.
    var index: SlotIndex
    /// The sectors that a slot holds.
    var valid: SectorBits
    /// Those of them that the store does not have, and no upload has taken along.
    var dirty: SectorBits
    /// The lines in which slots stand.
    var lists: SlotLists<List>
    /// Slots that were used and are free again; fresh ones follow after `entries`.
    var freeSlots: [CacheSlot] = []
    /// Blocks that have given up a slot of which the storage has not heard yet, and how many.
    var unreleased: [BlockNumber: Int] = [:]
    /// Releases that the storage could not record, and when it is told again, in microseconds.
    var failedReleases: [(release: Release, due: Int64)] = []
    /// Slots released since the last commit began.
    var quarantine: [CacheSlot] = []
    /// The commits that run, and the slots that each will free.
    var commits: [UInt64: [CacheSlot]] = [:]
    /// The number of the last commit that succeeded.
    var lastCommit: UInt64 = 0

    /// The copies that run or wait, in the order in which they were asked for.
    var copies: [Copy] = []
    /// The blocks that are, or are to be, asked of the store.
    var fetches: [BlockNumber: Fetch] = [:]
    /// Those to be asked for at once, and those to be read ahead; some have been asked for since.
    var foregroundFetches = FIFOQueue<BlockNumber>()
    var aheadFetches = FIFOQueue<BlockNumber>()
    /// How many read-aheads run.
    var aheadInFlight = 0
    /// The blocks on their way to the store.
    var uploads: [BlockNumber: Upload] = [:]
    /// The blocks that are zeros, and of which the store does not know it: those of the batches and flights.
    var pendingZeros: BlockBitmap
    /// Zeroings that wait, and those that were sent.
    var zeroBatches: [ZeroBatch] = []
    var zeroFlights: [ZeroFlight] = []

    /// The epoch of what becomes dirty now.
    var epoch: Epoch = 1
    /// Everything of this epoch and before is due.
    var flushedEpoch: Epoch = 0
    /// What the store lacks, by epoch, ascending.
    var outstanding: [OutstandingEpoch] = []
    /// The flushes that wait.
    var flushes: [FlushTicket] = []
    /// Blocks that became dirty, or were evicted, while somebody asked for extents.
    var extentQueries: [UInt64: Set<BlockNumber>] = [:]

    /// Held blocks with dirty sectors or an upload in flight.
    var dirtyCount = 0
    /// How many wanted blocks were sent in a row.
    var urgentInRow = 0
    /// Failures since the last success.
    var failureStreak = 0
    /// Whether some writer waits for room.
    var isRoomWanted = false
    /// Whether everything dirty is due, for good.
    var isDraining = false
    /// The last number given out by ``makeNumber()``.
    var lastNumber: UInt64 = 0
    /// What was done.
    var counters = Counters()

    /// What is counted; each as in ``BlockCacheStatistics``.
    struct Counters: Sendable {
        var initialSize: UInt64 = 0
        var readHits: UInt64 = 0
        var readMisses: UInt64 = 0
        var writeHits: UInt64 = 0
        var writeMisses: UInt64 = 0
        var verified: UInt64 = 0
        var mismatches: UInt64 = 0
        var readAheads: UInt64 = 0
        var uploads: UInt64 = 0
        var failedUploads: UInt64 = 0
        var writerWaits: UInt64 = 0
    }

    /// An empty cache.
    init(_ limits: Limits) {
        self.limits = limits
        index = SlotIndex(slotCount: limits.slotCount)
        lists = SlotLists(slotCount: limits.slotCount)
        valid = SectorBits(sectorsPerSlot: limits.sectorsPerBlock, slotCount: limits.slotCount)
        dirty = SectorBits(sectorsPerSlot: limits.sectorsPerBlock, slotCount: limits.slotCount)
        pendingZeros = BlockBitmap(blockCount: limits.blockCount)
    }

    /// All sectors of a block.
    var allSectors: Range<Int> { 0..<limits.sectorsPerBlock }

    /// How many slots belong to a block.
    var heldCount: Int { index.count }

    /// A number that no other operation has.
    mutating func makeNumber() -> UInt64 {
        lastNumber += 1
        return lastNumber
    }

    /// The slot of `block`, if it is held.
    func slot(of block: BlockNumber) -> CacheSlot? { index.find(block) }

    // MARK: Slots

    /// Gives `block`, which is not held, a slot: a free one, or that of the least recently used clean block.
    ///
    /// - Returns: Nil when everything is dirty or in use.
    mutating func allocate(for block: BlockNumber) -> CacheSlot? {
        guard let slot = takeSlot() else { return nil }
        entries[slot] = Entry(block: block, state: .filling)
        index.insert(slot, for: block)
        return slot
    }

    private mutating func takeSlot() -> CacheSlot? {
        if let slot = freeSlots.popLast() { return slot }
        if entries.count < limits.slotCount { return entries.append(Entry()) }
        guard let slot = evictable(in: .clean) ?? evictable(in: .protected) else { return nil }
        evict(slot)
        return slot
    }

    /// Whether ``allocate(for:)`` would find a slot.
    var hasRoom: Bool {
        !freeSlots.isEmpty || entries.count < limits.slotCount || evictable(in: .clean) != nil || evictable(in: .protected) != nil
    }

    /// How many blocks more may get a slot and become dirty now.
    var roomCount: Int {
        guard dirtyCount < limits.dirtyMax else { return 0 }
        let copied = Set(copies.map(\.slot)).count { entries[$0].list == .clean || entries[$0].list == .protected }
        let evictableCount = lists.count(of: .clean) + lists.count(of: .protected) - copied
        return min(limits.dirtyMax - dirtyCount, freeSlots.count + limits.slotCount - entries.count + evictableCount)
    }

    /// The first slot of a list of settled clean ones that nobody copies from or to. Passes over no more slots than are copied.
    private func evictable(in list: List) -> CacheSlot? {
        var candidate = lists.first(of: list)
        while let slot = candidate {
            if !isBeingCopied(slot) { return slot }
            candidate = lists.next(after: slot)
        }
        return nil
    }

    /// Takes a clean slot away from its block; the caller says what becomes of it.
    mutating func evict(_ slot: CacheSlot) {
        precondition(entries[slot].state == .clean, "only clean blocks are evicted")
        unlist(slot)
        index.remove(entries[slot].block)
        // It may have been uploaded since the store below was asked, and then nothing else tells that it is data.
        for query in extentQueries.keys { extentQueries[query]?.insert(entries[slot].block) }
        valid.clear(slot)
        entries[slot] = Entry()
    }

    /// Gives up a clean slot without need: the storage must hear of it, or it would have two slots of the block one day.
    mutating func giveUp(_ slot: CacheSlot) -> Release {
        let release = Release(slot: slot, block: entries[slot].block, wasDirty: !isSettled(slot))
        evict(slot)
        unreleased[release.block, default: 0] += 1
        entries[slot] = Entry(block: release.block, state: .released)
        return release
    }

    /// Makes a slot free that belongs to no block any more.
    mutating func free(_ slot: CacheSlot) {
        entries[slot] = Entry()
        freeSlots.append(slot)
    }

    /// Evicts what was unused for too long.
    ///
    /// - Returns: What the storage is to be told, for the first time or again.
    mutating func expire(now: Duration) -> [Release] {
        var releases = takeFailedReleases(now: now)
        guard let keptFor = limits.keptFor else { return releases }
        let limit = (now - keptFor).microseconds
        for list in [List.unsettled, .clean, .protected] {
            while let slot = lists.first(of: list), entries[slot].time <= limit, !isBeingCopied(slot) {
                releases.append(giveUp(slot))
            }
        }
        return releases
    }

    // MARK: Lines

    /// Takes the slot out of the line it stands in.
    mutating func unlist(_ slot: CacheSlot) {
        guard let list = entries[slot].list else { return }
        lists.remove(slot, from: list)
        entries[slot].list = nil
    }

    /// Puts the slot at the end of a line.
    mutating func enlist(_ slot: CacheSlot, in list: List) {
        unlist(slot)
        lists.append(slot, to: list)
        entries[slot].list = list
    }

    /// The block is as the store has it.
    mutating func becomeClean(_ slot: CacheSlot, now: Duration) {
        entries[slot].state = .clean
        touch(slot, now: now)
    }

    /// A clean block was used: it is evicted last.
    mutating func touch(_ slot: CacheSlot, now: Duration) {
        guard entries[slot].state == .clean else { return }
        entries[slot].time = now.microseconds
        guard isSettled(slot) else {
            // Where it stands says since when it is clean, not when it was used.
            if entries[slot].list != .unsettled { enlist(slot, in: .unsettled) }
            return
        }
        let list = cleanList(of: slot)
        if entries[slot].list == list { lists.moveToEnd(slot, of: list) } else { enlist(slot, in: list) }
    }

    /// A commit has succeeded: what was clean before it began may be given away.
    mutating func settleClean() {
        while let slot = lists.first(of: .unsettled), isSettled(slot) { enlist(slot, in: cleanList(of: slot)) }
    }

    private func cleanList(of slot: CacheSlot) -> List {
        Int(entries[slot].block.rawValue) < limits.protectedCount ? .protected : .clean
    }

    /// The block, which is dirty, waits for its upload; with due time and epoch as they stand.
    mutating func becomeDirty(_ slot: CacheSlot) {
        let block = entries[slot].block
        guard uploads[block] == nil, !isBeingZeroed(block) else {
            unlist(slot)
            entries[slot].state = .waiting
            return
        }
        entries[slot].state = .dirty
        let isUrgent = entries[slot].epoch <= flushedEpoch || isDraining || isWanted(block, entries[slot].epoch)
        enlist(slot, in: isUrgent ? .urgent : .dirty)
    }
}

extension Duration {
    /// The whole microseconds, as the entries of the cache keep times.
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}

/// One value for each slot that was ever used, addressed by slot.
struct SlotArray<Element: Sendable>: Sendable {
    private var elements: [Element] = []

    /// How many slots have a value.
    var count: Int { elements.count }

    /// The slots that have a value.
    var slots: some Sequence<CacheSlot> { (0..<UInt32(elements.count)).lazy.map(CacheSlot.init(rawValue:)) }

    /// Gives the next slot a value.
    ///
    /// - Returns: That slot.
    mutating func append(_ element: Element) -> CacheSlot {
        elements.append(element)
        return CacheSlot(rawValue: UInt32(elements.count - 1))
    }

    /// The value of a slot.
    subscript(slot: CacheSlot) -> Element {
        get { elements[Int(slot.rawValue)] }
        _modify { yield &elements[Int(slot.rawValue)] }
    }
}
