// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension CacheFile {
    /// What is where in a cache file, and what may be overwritten: a pure state machine, without I/O.
    ///
    /// A sector is known by its *key*, which is the number of its home location. Its current version is at home or in a spare, and in
    /// one of these states, which decide where the next version goes:
    ///
    ///     nothing     no record since the slot was assigned         home
    ///     fresh       not committed, no fdatasync(2) began since    in place: nobody was promised anything
    ///     committing  not committed, an fdatasync(2) runs           elsewhere: the promise is being made
    ///     protected   committed, and the store may not have it      elsewhere
    ///     clean       the store has it, and the file says so        in place, or home if that is free
    ///
    /// *Elsewhere* is the home, unless it is the current location or still held for the version before; else a spare. A location that is
    /// left is free again when the version that took over is durable; if it is a spare, its record is erased first, and the sector
    /// counts as protected (*shadowed*) until the erasure is durable. For if the current version were torn by a rewrite while an older one is
    /// about, the start after a crash would take the older one for the one that the mark covers.
    ///
    /// *Rounds* number the commits. What is done carries the number of commits begun by then; the commit that is begun as number n, from 0,
    /// makes all that carries n or less durable.
    struct Ledger: Sendable {
        /// A version that is not committed.
        struct Fresh: Sendable {
            /// When it was written.
            var round: UInt64
            /// Whether the store lacks it.
            var isUser: Bool
            /// Whether a mark says that the store has it: then a version before it must not come to light in its place.
            var isCovered = false
        }
        /// A location that a newer version has left.
        struct Left: Sendable {
            /// Where.
            var location: Int
            /// When the newer version was written.
            var round: UInt64
        }
        /// A mark that is on its way to the disk.
        struct Cleaning: Sendable {
            /// The slot's base then: it may be assigned again meanwhile.
            var base: UInt64
            /// Up to which write.
            var mark: UInt64
            /// When it was written.
            var round: UInt64
        }
        /// Sectors overwritten by versions that are not committed.
        struct Replaced: Sendable {
            /// The first such write.
            var sequence: UInt64
            /// The last one.
            var round: UInt64
        }

        /// Where everything lies.
        let layout: CacheFileLayout
        /// The number of the last write.
        var sequence: UInt64
        /// The highest mark anybody was told.
        var markTold: UInt64 = 0
        /// Of each slot: records up to here are void.
        var bases: [UInt64]
        /// Of each slot that has a mark: the block.
        var blocks: [BlockNumber]
        /// Of each slot: its last write by the user.
        var lastUser: [UInt64]
        /// Of each slot: up to which write by the user the store has it.
        var marks: [UInt64]
        /// The keys with a record since their slot was assigned.
        var written: CacheFileBits
        /// The keys whose current version must not be overwritten.
        var protected: CacheFileBits
        /// Where the current version is, if not at home.
        var moved: [Int: Int] = [:]
        /// The versions that are not committed: those of the user, and all in spares.
        var fresh: [Int: Fresh] = [:]
        /// The keys whose home still has the version before.
        var held: Set<Int> = []
        /// The locations that were left and are not free yet.
        var left: [Int: [Left]] = [:]
        /// The spares whose record has been erased.
        var erasing: [(key: Int, Left)] = []
        /// How many versions of a sector that count no more may still be found after a crash.
        var shadowed: [Int: Int] = [:]
        /// Spares of released slots.
        var retired: [Left] = []
        /// Spares for the taking.
        var freeSpares: [Int]
        /// Marks that are not durable and that leave nothing to be protected, by slot: never more than there are slots, however many
        /// blocks are read without a commit.
        var cleaning: [Int: Cleaning] = [:]
        /// Slots with sectors that were overwritten and not committed.
        var replaced: [Int: Replaced] = [:]
        /// Slots that were released, and must not be used before that is durable.
        var unsettled: [Int: UInt64] = [:]
        /// Slots whose descriptor says that a block was zeroed, and which.
        var zeroedSlots: [Int: BlockNumber] = [:]
        /// Zeros that the store may not have seen.
        var zeros: CacheFileZeroRuns
        /// Zeros that are being recorded: a mark told meanwhile may be higher.
        var zeroing: (sequence: UInt64, blocks: BlockSet)?
        /// Zeros forgotten since the last commit began, and before.
        var forgotten: (now: BlockSet, before: BlockSet) = (BlockSet(), BlockSet())
        /// Keys that are being brought home.
        var busy: Set<Int> = []
        /// Keys with a spare that are being written.
        var writing: Set<Int> = []
        /// Writes by the user that have not ended, by slot.
        var userWrites: [Int: [UInt64]] = [:]
        /// How many writes have not ended.
        var runningCount = 0
        /// How many writes overwrite a fresh version now; no commit may begin meanwhile.
        var rewriteCount = 0
        /// Whether a commit waits for these.
        var isSyncWanted = false
        /// How many commits have begun.
        var round: UInt64 = 0
        /// Whether something was written since the last one began.
        var hasNews = false
        /// Whether commits mean something.
        var isTrusted = true

        /// A file in which nothing is kept.
        init(layout: CacheFileLayout) {
            self.layout = layout
            sequence = 0
            bases = [UInt64](repeating: 0, count: layout.slotCount)
            blocks = [BlockNumber](repeating: BlockNumber(0), count: layout.slotCount)
            lastUser = bases
            marks = bases
            written = CacheFileBits(count: layout.homeCount)
            protected = written
            zeros = CacheFileZeroRuns()
            freeSpares = Array((layout.homeCount..<layout.locationCount).reversed())
        }

        /// Where the current version of a sector is.
        func location(of key: Int) -> Int { moved[key] ?? key }

        /// A new sequence.
        mutating func nextSequence() -> UInt64 {
            sequence += 1
            return sequence
        }

        // MARK: Slots

        /// Whether a spare still has an old version of a sector of `slot`: were its homes overwritten before it is durable that the slot
        /// holds nothing any more, a crash could bring that version back in place of the newer one.
        func isShadowed(_ slot: Int) -> Bool {
            guard !shadowed.isEmpty || !left.isEmpty else { return false }
            return layout.homes(of: slot).contains { shadowed[$0] != nil || left[$0] != nil }
        }

        /// `slot` holds nothing from now on; its descriptor, with `base`, is written already.
        ///
        /// - Parameter isSettled: Whether its homes may be overwritten before that is durable. Not if data is lost with it because the block
        ///   was zeroed, nor if it is shadowed.
        mutating func noteEmpty(_ slot: Int, base: UInt64, isSettled: Bool) {
            clear(slot)
            bases[slot] = base
            lastUser[slot] = 0
            marks[slot] = 0
            hasNews = true
            unsettled[slot] = isSettled ? nil : round
        }

        private mutating func clear(_ slot: Int) {
            replaced[slot] = nil
            for key in layout.homes(of: slot) {
                written[key] = false
                protected[key] = false
                guard !moved.isEmpty || !fresh.isEmpty || !left.isEmpty else { continue }
                fresh[key] = nil
                held.remove(key)
                if let spare = moved.removeValue(forKey: key) { retired.append(Left(location: spare, round: round)) }
                // The new base voids them with the slot's other records: there is nothing to erase.
                for old in left.removeValue(forKey: key) ?? [] where old.location != key {
                    retired.append(Left(location: old.location, round: round))
                }
            }
        }

        /// The store has what was written to `slot`, which is the block's, up to `mark`, and the file says so.
        mutating func noteMark(_ mark: UInt64, of block: BlockNumber, in slot: Int) {
            hasNews = true
            blocks[slot] = block
            marks[slot] = max(marks[slot], mark)
            if !fresh.isEmpty { for key in layout.homes(of: slot) { fresh[key]?.isCovered = true } }
            // Only what the user wrote is ever protected. Which sectors a later write has made dirty again is not looked up: they all
            // stay protected, which costs spares only.
            guard lastUser[slot] > 0, lastUser[slot] <= mark else { return }
            if let old = cleaning[slot], old.base == bases[slot], lastUser[slot] <= old.mark { return }
            cleaning[slot] = Cleaning(base: bases[slot], mark: mark, round: round)
        }

        /// The mark that may be recorded for `block` in `slot` when somebody asks for `mark`. A write that is under way is not covered; nor is
        /// a zeroing behind which the user has written nothing: it would count as seen by the store, which may have the bytes of before.
        func recordableMark(_ mark: UInt64, of block: BlockNumber, in slot: Int) -> UInt64 {
            var covered = mark
            if let first = userWrites[slot]?.min() { covered = min(covered, first - 1) }
            if let zeroed = lastZeroing(of: block), zeroed > lastUser[slot] { covered = min(covered, zeroed - 1) }
            // Nothing that was clean becomes dirty.
            return max(covered, marks[slot])
        }

        private func lastZeroing(of block: BlockNumber) -> UInt64? {
            if let zeroing, zeroing.blocks.contains(block) { return zeroing.sequence }
            return zeros.sequence(of: block)
        }

        /// The block in `slot` and its mark, if that is all that says of a zeroing in the log that it is over.
        func zeroingUnderMark(of slot: Int) -> (block: BlockNumber, mark: UInt64)? {
            guard marks[slot] > 0, let zeroed = zeros.sequence(of: blocks[slot]), zeroed <= marks[slot] else { return nil }
            return (blocks[slot], marks[slot])
        }

        /// Whether the zeroing of the block in `slot` was forgotten, and only the slot's mark says so after a crash.
        func isForgotten(in slot: Int) -> Bool { marks[slot] > 0 && isForgotten(blocks[slot]) }

        /// Whether a version that a mark is to cover may yet vanish in a crash and leave an older one of its slot in its place.
        func needsSettling(_ slot: Int, upTo mark: UInt64) -> Bool { replaced[slot].map { $0.sequence <= mark } ?? false }

        /// Whether `block` was zeroed, and the file may still say so after a crash though the store has seen it.
        func isForgotten(_ block: BlockNumber) -> Bool { forgotten.now.contains(block) || forgotten.before.contains(block) }
    }
}
