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

}

extension Duration {
    /// The whole microseconds, as the entries of the cache keep times.
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}
