// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores

/// Which blocks a late attempt may still change, and what each of them shall be; pure.
///
/// An attempt that ended without an answer may reach the store later, after a newer write of the same block, and undo it.
/// A block with such an attempt is *watched* until the settle window after it has passed and the object was then found to be
/// right. Per watched block:
///
///     expected    what the last mutation that returned made of it; nil: not known, and the block is indeterminate
///     hazardEnds  until when an old attempt may still arrive
///     activity    idle, or who has the object in hand: a mutation or a confirmation, never both
///
///                   returned settled          returned unsettled            threw, outcome unknown
///     not watched   stays so                  watched, expected             watched, indeterminate
///     watched       expected; hazard stays    expected; hazard from now     expected as before; hazard from now
///
/// A mutation that threw leaves its block old or new. Where the old contents are known, old it is: they are written again when
/// the block is confirmed, whatever has arrived by then. Merely not to know would be wrong: an attempt that is older still may be
/// on its way, and what it writes is neither.
///
///     confirmation begun before hazardEnds: stays watched     begun after: no longer watched
struct SettlementStateMachine {
    /// What a block shall be.
    struct Expectation: Sendable {
        /// The contents; kept, so that they can be written again.
        var contents: BlockContents
        /// The tag of the object that holds them; nil for zeros without an object, and where the store gave none.
        var eTag: ETag?
    }

    /// Who has a watched block's object in hand.
    enum Activity: Sendable { case idle, mutating, confirming }

    /// What is known of a watched block.
    struct Entry: Sendable {
        var expected: Expectation?
        var hazardEnds: Duration
        var activity: Activity
    }

    /// What a mutation that succeeded has to do yet.
    enum Verdict: Hashable, Sendable {
        /// Nothing.
        case done
        /// No room to watch its blocks: confirm them after this moment, then call `endLoneConfirmation`.
        case mustConfirm(after: Duration)
    }

    /// A block taken for confirmation, and what it shall be.
    struct Claim: Sendable {
        let block: BlockNumber
        let expected: Expectation
    }

    /// How a confirmation ended.
    enum Confirmation: Sendable {
        /// The object was right.
        case matched
        /// It was written or deleted again.
        case mended(Mutation)
        /// It could not be told, or not be mended.
        case failed(outcomeIsUnknown: Bool)
    }

    private(set) var entries: [BlockNumber: Entry] = [:]
    private(set) var retainedBytes = 0
    let limits: SettlementLimits

    init(limits: SettlementLimits) { self.limits = limits }

    /// What `block` is, if it is watched and known: the answer to a read, since the object may hold an older write.
    func expected(of block: BlockNumber) -> Expectation? { entries[block]?.expected }

    // MARK: Mutations

    /// Begins a mutation of all of `blocks`, unless one of them is being confirmed.
    ///
    /// - Returns: False when the caller has to wait.
    mutating func beginMutation(of blocks: [BlockNumber]) -> Bool {
        guard !entries.isEmpty else { return true }
        for block in blocks where entries[block]?.activity == .confirming { return false }
        for block in blocks { entries[block]?.activity = .mutating }
        return true
    }

    /// Ends a mutation that gave each of `blocks` the contents `expected`.
    ///
    /// - Parameters:
    ///   - isSettled: Whether every attempt was answered.
    ///   - beganAt: When the first attempt was made.
    mutating func endMutation(
        of blocks: [BlockNumber], _ expected: Expectation, isSettled: Bool, beganAt: Duration, now: Duration
    ) -> Verdict {
        guard !(isSettled && entries.isEmpty) else { return .done }
        let watched = blocks.filter { block in
            guard isSettled else { return true }
            guard let entry = entries[block] else { return false }
            if entry.hazardEnds > beganAt { return true }
            remove(block)
            return false
        }
        guard !watched.isEmpty else { return .done }
        let hazardEnds = isSettled ? watched.compactMap { entries[$0]?.hazardEnds }.max() ?? now : now + limits.window
        guard hasRoom(for: expected.contents, in: watched) else {
            // In hand until its confirmation; what it was before may still be read, since the mutation has not returned.
            for block in watched {
                let before = entries[block]?.expected
                entries[block] = Entry(expected: before, hazardEnds: hazardEnds, activity: .mutating)
            }
            return .mustConfirm(after: hazardEnds)
        }
        // A block cut from a large write would keep the whole write in memory; a copy is cheap beside a lost answer.
        let kept = Expectation(contents: expected.contents.detached, eTag: expected.eTag)
        for block in watched {
            let hazardEnds = isSettled ? entries[block]?.hazardEnds ?? hazardEnds : hazardEnds
            set(block, Entry(expected: kept, hazardEnds: hazardEnds, activity: .idle))
        }
        return .done
    }

    /// Ends a mutation that threw.
    ///
    /// - Parameter isUnknown: Whether an attempt may still arrive.
    mutating func failMutation(of blocks: [BlockNumber], isUnknown: Bool, now: Duration) {
        forgetIndeterminate(now: now)
        for block in blocks {
            if isUnknown {
                set(block, Entry(expected: entries[block]?.expected, hazardEnds: now + limits.window, activity: .idle))
            } else {
                entries[block]?.activity = .idle
            }
        }
    }

    /// Ends the confirmation that ``Verdict/mustConfirm(after:)`` asked for.
    ///
    /// - Parameter isConfirmed: False when it failed: the blocks are what they were then, where that is known.
    mutating func endLoneConfirmation(of blocks: [BlockNumber], isConfirmed: Bool, now: Duration) {
        for block in blocks {
            if isConfirmed {
                remove(block)
            } else {
                set(block, Entry(expected: entries[block]?.expected, hazardEnds: now + limits.window, activity: .idle))
            }
        }
    }

    // MARK: Confirmations

    /// The blocks in `scope` that a flush has to confirm, in order. A block being mutated counts: its outcome is awaited.
    func pending(in scope: FlushScope) -> [BlockNumber] {
        entries.filter { block, entry in
            guard entry.expected != nil || entry.activity != .idle else { return false }
            switch scope {
            case .everything: return true
            case .blocks(let blocks): return blocks.contains(block)
            }
        }.keys.sorted()
    }

    /// The blocks whose hazard is over and that only need a last look.
    func overdue(now: Duration) -> [BlockNumber] {
        entries.filter { $0.value.expected != nil && $0.value.hazardEnds <= now }.keys.sorted()
    }

    /// When the last hazard ends, that of indeterminate blocks included; nil when there is nothing to wait for or to confirm.
    func lastHazardEnd(now: Duration) -> Duration? { unsettled(now: now).map(\.hazardEnds).max() }

    /// How many blocks have to be confirmed, or may still be changed by a late attempt.
    func unsettledCount(now: Duration) -> Int { unsettled(now: now).count }

    /// Leaves out indeterminate blocks whose hazard is over: nothing can change them any more, and nobody knows what they shall
    /// be.
    private func unsettled(now: Duration) -> [Entry] {
        entries.values.filter { $0.expected != nil || $0.hazardEnds > now }
    }

    /// Takes for confirmation those of `pending` that nobody has in hand, and removes from `pending` what needs no more care.
    ///
    /// Nothing taken and something left in `pending` means: wait.
    mutating func claim(_ pending: inout [BlockNumber]) -> [Claim] {
        var claims: [Claim] = []
        var busy: [BlockNumber] = []
        for block in pending {
            guard let entry = entries[block] else { continue }
            guard entry.activity == .idle else {
                busy.append(block)
                continue
            }
            guard let expected = entry.expected else { continue }
            entries[block]?.activity = .confirming
            claims.append(Claim(block: block, expected: expected))
        }
        pending = busy
        return claims
    }

    /// Ends the confirmation of a claimed block.
    ///
    /// - Parameter beganAt: When its request was sent.
    mutating func endConfirmation(of block: BlockNumber, _ outcome: Confirmation, beganAt: Duration, now: Duration) {
        guard var entry = entries[block] else { preconditionFailure("a claimed block stays watched") }
        precondition(entry.activity == .confirming, "only a claimed block is confirmed")
        entry.activity = .idle
        switch outcome {
        case .matched:
            if entry.hazardEnds <= beganAt { return remove(block) }
        case .mended(let mutation):
            if mutation.isSettled, entry.hazardEnds <= beganAt { return remove(block) }
            entry.expected?.eTag = mutation.eTag
            if !mutation.isSettled { entry.hazardEnds = now + limits.window }
        case .failed(let outcomeIsUnknown):
            // What was sent is what the block shall be, so the expectation stands.
            if outcomeIsUnknown { entry.hazardEnds = now + limits.window }
        }
        entries[block] = entry
    }

    // MARK: Bookkeeping

    private func hasRoom(for contents: BlockContents, in blocks: [BlockNumber]) -> Bool {
        let known = blocks.count { entries[$0] != nil }
        guard entries.count + blocks.count - known <= limits.watchedBlocksMax else { return false }
        let freed = blocks.reduce(0) { $0 + (entries[$1].map(bytes) ?? 0) }
        return retainedBytes - freed + blocks.count * contents.retainedCount <= limits.retainedBytesMax
    }

    private func bytes(_ entry: Entry) -> Int { entry.expected?.contents.retainedCount ?? 0 }

    private mutating func set(_ block: BlockNumber, _ entry: Entry) {
        retainedBytes += bytes(entry) - (entries[block].map(bytes) ?? 0)
        entries[block] = entry
    }

    private mutating func remove(_ block: BlockNumber) {
        guard let entry = entries.removeValue(forKey: block) else { return }
        retainedBytes -= bytes(entry)
    }

    /// Drops indeterminate blocks whose hazard is over: nothing can change them any more.
    private mutating func forgetIndeterminate(now: Duration) {
        for (block, entry) in entries where entry.expected == nil && entry.activity == .idle && entry.hazardEnds <= now {
            remove(block)
        }
    }
}

extension BlockContents {
    /// The bytes that keeping these contents costs.
    fileprivate var retainedCount: Int {
        switch self {
        case .zero: 0
        case .bytes(let slice): slice.count
        }
    }

    /// The same contents, holding no more memory than they need.
    fileprivate var detached: BlockContents {
        guard case .bytes(let slice) = self, slice.count < slice.buffer.count else { return self }
        return .bytes(BufferSlice(slice.withBytes { Buffer(copying: $0) }))
    }
}
