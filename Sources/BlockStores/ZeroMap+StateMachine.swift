// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

extension ZeroMap {
    /// What is known to be zero, and what could make that knowledge false.
    ///
    /// Two rules keep it true. Knowledge of a block is dropped *before* a mutation of it goes down. And it is learnt from a
    /// read or a mutation only if no (other) mutation of that block ran at any moment between the request and its answer: a
    /// read that met no object before a write ended would otherwise mark the written block zero.
    ///
    /// ```
    ///                  read ends: zero, undisturbed, not in doubt
    ///              +--------------------------------------------+
    ///   mutation   |                                            v
    ///   begins  unknown <------------------------------- known zero
    ///      |       ^            mutation begins                 ^
    ///      v       | ends: data                                 |
    ///   in flight -+--------------------------------------------+
    ///      |                    ends: zero, undisturbed
    ///      +--> unknown and in doubt: it failed. An attempt without an answer may still arrive, so no read is believed;
    ///           the end of doubt is a later mutation that succeeds.
    /// ```
    ///
    /// A survey teaches many blocks at once, and the second rule holds for its whole time: from its beginning on, every block that is
    /// being changed, or that a page names as present or unclear, is excluded, and what is covered and not excluded is learnt.
    ///
    /// Memory: two bitmaps of which only what is used exists, a third one during a survey, and one entry for each request in
    /// flight.
    ///
    /// - Invariant: a block that is known zero has no mutation in flight.
    struct StateMachine: Sendable {
        /// How a mutation came out.
        enum Outcome: Sendable {
            /// The block is zeros.
            case zero
            /// The block holds something else.
            case data
            /// The block is indeterminate.
            case failed
        }

        /// What a read takes along, to be handed in with its answer.
        struct ReadTicket: Sendable {
            /// The reads of this block that no mutation has disturbed so far; nil when one ran already.
            fileprivate let cohort: UInt64?
        }

        /// Reads of one block with no mutation since; forgotten as soon as one begins.
        private struct Cohort {
            let number: UInt64
            var running: Int
        }

        /// Writes of one block in flight. More than one breaks the rule on order; then nothing is learnt.
        private struct WriteInFlight {
            var running: Int
            var isDisturbed: Bool
        }

        private struct ZeroInFlight {
            let number: UInt64
            let blocks: BlockSet
            /// Those of `blocks` that no other mutation has disturbed.
            var undisturbed: BlockSet
        }

        private var zeros: BlockBitmap
        private var doubtful: BlockBitmap
        private var cohorts: [BlockNumber: Cohort] = [:]
        private var writes: [BlockNumber: WriteInFlight] = [:]
        private var zerosInFlight: [ZeroInFlight] = []
        /// What the survey under way must not teach: the blocks that were being changed at any moment since it began, those that have
        /// objects, and those that are unclear. Nil without a survey.
        private var excluded: BlockBitmap?
        private let blockCount: Int
        private var nextNumber: UInt64 = 0
        private var readHits: UInt64 = 0
        private var writeHits: UInt64 = 0

        /// Knows nothing of `blockCount` blocks.
        init(blockCount: Int) {
            self.blockCount = blockCount
            zeros = BlockBitmap(blockCount: blockCount)
            doubtful = BlockBitmap(blockCount: blockCount)
        }

        /// The counters and the number of blocks known to be zero.
        var statistics: ZeroMapStatistics {
            ZeroMapStatistics(size: UInt64(zeros.count), readHits: readHits, writeHits: writeHits)
        }

        /// Sets the counters to 0; knowledge stays.
        mutating func resetStatistics() {
            readHits = 0
            writeHits = 0
        }

        /// Whether nothing is in flight, so that no memory but the two bitmaps' is held.
        var isIdle: Bool { cohorts.isEmpty && writes.isEmpty && zerosInFlight.isEmpty && excluded == nil }

        /// Whether `block` is known to be zero.
        func isZero(_ block: BlockNumber) -> Bool { zeros.contains(block) }

        /// Calls `body` with each run of blocks in `blocks`, and with whether they are known to be zero.
        func forEachRun(in blocks: BlockRange, _ body: (BlockRange, Bool) -> Void) {
            zeros.forEachRun(in: blocks, body)
        }

        /// Whether a read of `block` needs nobody else; counts it if so. Allocates nothing.
        mutating func answersRead(of block: BlockNumber) -> Bool {
            guard zeros.contains(block) else { return false }
            readHits += 1
            return true
        }

        /// Whether `block` is a known zero; counts what comes of it.
        mutating func isZero(_ block: BlockNumber, for use: ZeroUse) -> Bool {
            guard zeros.contains(block) else { return false }
            switch use {
            case .read: readHits += 1
            case .write: writeHits += 1
            case .planning: break
            }
            return true
        }

        /// A read of `block` goes down.
        mutating func beginRead(of block: BlockNumber) -> ReadTicket {
            guard !isBeingChanged(block) else { return ReadTicket(cohort: nil) }
            if let cohort = cohorts[block] {
                cohorts[block] = Cohort(number: cohort.number, running: cohort.running + 1)
                return ReadTicket(cohort: cohort.number)
            }
            let number = makeNumber()
            cohorts[block] = Cohort(number: number, running: 1)
            return ReadTicket(cohort: number)
        }

        /// A read of `block` came back.
        ///
        /// - Parameter foundZero: Whether it says that the block is zeros; false as well when it failed.
        mutating func endRead(of block: BlockNumber, _ ticket: ReadTicket, foundZero: Bool) {
            guard let number = ticket.cohort, let cohort = cohorts[block], cohort.number == number else { return }
            cohorts[block] = cohort.running == 1 ? nil : Cohort(number: number, running: cohort.running - 1)
            if foundZero, !doubtful.contains(block) { zeros.insert(block) }
        }

        /// A write of `block` is about to go down.
        ///
        /// - Returns: False when it writes zeros to a known zero: then nothing needs to go down, and nothing has begun.
        mutating func beginWrite(to block: BlockNumber, writesZeros: Bool) -> Bool {
            if writesZeros, zeros.contains(block) {
                writeHits += 1
                return false
            }
            zeros.remove(block)
            excluded?.insert(block)
            cohorts[block] = nil
            var isDisturbed = writes[block] != nil
            for index in zerosInFlight.indices where zerosInFlight[index].blocks.contains(block) {
                zerosInFlight[index].undisturbed.remove(contentsOf: block..<block.advanced(by: 1))
                isDisturbed = true
            }
            writes[block] = WriteInFlight(running: (writes[block]?.running ?? 0) + 1, isDisturbed: isDisturbed)
            return true
        }

        /// A write of `block` that had begun came back.
        mutating func endWrite(to block: BlockNumber, _ outcome: Outcome) {
            guard let write = writes[block] else { preconditionFailure("a write ends once, after it began") }
            let others = write.running - 1
            writes[block] = others == 0 ? nil : WriteInFlight(running: others, isDisturbed: true)
            if case .failed = outcome { doubtful.insert(block) }
            guard !write.isDisturbed, others == 0 else { return }
            switch outcome {
            case .failed: break
            case .data: doubtful.remove(block)
            case .zero:
                doubtful.remove(block)
                zeros.insert(block)
            }
        }

        /// Blocks are about to be zeroed.
        ///
        /// - Returns: Those that are not known to be zero, with a number for ``endZero(_:succeeded:)``; nil when there are none:
        ///   then nothing needs to go down, and nothing has begun.
        mutating func beginZero(_ blocks: BlockSet) -> (unknown: BlockSet, number: UInt64)? {
            var unknown = BlockSet()
            var knownCount = 0
            for range in blocks.ranges {
                zeros.forEachRun(in: range) { run, isZero in
                    if isZero { knownCount += run.count } else { unknown.insert(contentsOf: run) }
                }
            }
            writeHits += UInt64(knownCount)
            guard !unknown.isEmpty else { return nil }
            excluded?.insert(unknown)
            let number = makeNumber()
            let undisturbed = disturb(unknown)
            zerosInFlight.append(ZeroInFlight(number: number, blocks: unknown, undisturbed: undisturbed))
            return (unknown, number)
        }

        /// Zeroing that had begun came back.
        mutating func endZero(_ number: UInt64, succeeded: Bool) {
            guard let index = zerosInFlight.firstIndex(where: { $0.number == number }) else {
                preconditionFailure("zeroing ends once, after it began")
            }
            let flight = zerosInFlight.remove(at: index)
            if succeeded {
                doubtful.remove(flight.undisturbed)
                zeros.insert(flight.undisturbed)
            } else {
                doubtful.insert(flight.blocks)
            }
        }

        // MARK: The survey

        /// A survey begins; its first request has not been sent.
        mutating func beginSurvey() {
            precondition(excluded == nil, "one survey at a time")
            var excluded = BlockBitmap(blockCount: blockCount)
            // A mutation that begins later is noted then; one that ends later has begun before.
            for block in writes.keys { excluded.insert(block) }
            for flight in zerosInFlight { excluded.insert(flight.blocks) }
            self.excluded = excluded
        }

        /// A page of the survey came.
        mutating func learn(_ page: SurveyPage) {
            for block in page.present { excluded?.insert(block.number) }
            for block in page.unclear { excluded?.insert(block) }
            guard let excluded else { preconditionFailure("a page belongs to a survey") }
            var learnt: [BlockRange] = []
            excluded.forEachRun(in: page.covered) { run, isExcluded in
                guard !isExcluded else { return }
                doubtful.forEachRun(in: run) { run, isDoubtful in
                    if !isDoubtful { learnt.append(run) }
                }
            }
            for run in learnt { zeros.insert(BlockSet(run)) }
        }

        /// The survey is over.
        mutating func endSurvey() { excluded = nil }

        // MARK: Bookkeeping

        /// Forgets the reads of `blocks` in flight and spoils other mutations of them.
        ///
        /// - Returns: Those of `blocks` that no other mutation touches.
        private mutating func disturb(_ blocks: BlockSet) -> BlockSet {
            for block in cohorts.keys.filter(blocks.contains) { cohorts[block] = nil }
            var undisturbed = blocks
            for (block, write) in writes where blocks.contains(block) {
                writes[block] = WriteInFlight(running: write.running, isDisturbed: true)
                undisturbed.remove(contentsOf: block..<block.advanced(by: 1))
            }
            for index in zerosInFlight.indices {
                undisturbed.subtract(zerosInFlight[index].blocks)
                zerosInFlight[index].undisturbed.subtract(blocks)
            }
            return undisturbed
        }

        private func isBeingChanged(_ block: BlockNumber) -> Bool {
            writes[block] != nil || zerosInFlight.contains { $0.blocks.contains(block) }
        }

        private mutating func makeNumber() -> UInt64 {
            nextNumber += 1
            return nextNumber
        }
    }
}
