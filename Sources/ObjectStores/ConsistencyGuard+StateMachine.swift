// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What is known of objects that were changed lately, and which answers about them can be true. No clock, locks or I/O.
///
/// Per object, *knowledge* and perhaps an attempt of a change *under way*:
///
///     nothing        no entry: every answer is believed
///     certain        the last change was answered: this version, or absence
///     in doubt       a change had no answer: one of a few versions, or anything where not even the version before was known
///
///                    begins        succeeds    fails, nothing done       fails without an answer
///     nothing        under way     certain     nothing                   in doubt: anything
///     certain        under way     certain     certain, as before        in doubt: before, attempted
///     in doubt       under way     certain     in doubt, as before       in doubt: one more
///
/// Knowledge is forgotten a set time after the end of the change that it came from. It is never learnt from answers of the
/// store: those may be old.
///
/// A read that is under way has a list of the versions that it may meet: those possible when it began, and each that was
/// attempted since. So it may meet the state before a change that has overlapped it, and is never measured by what came later.
struct ConsistencyStateMachine {
    /// What is known of an object.
    enum Knowledge: Equatable, Sendable {
        /// It has this version.
        case certain(ObjectVersion)
        /// It has one of these; nil: any.
        case inDoubt([ObjectVersion]?)

        /// The versions that it may have; nil: any.
        var versions: [ObjectVersion]? {
            switch self {
            case .certain(let version): [version]
            case .inDoubt(let versions): versions
            }
        }
    }

    /// What the guard has about one object.
    struct Entry: Sendable {
        /// Nil only while a change is under way.
        var knowledge: Knowledge?
        /// When the change ended that the knowledge came from.
        var learntAt: Duration
        /// Names that moment in the order of forgetting.
        var stamp: UInt64 = 0
        /// What a change under way makes of the object: `.absent` or `.body`.
        var attempted: ObjectVersion?
        /// Whether a change had no answer since the object is remembered; it may arrive late and undo what is known.
        var hasUnanswered = false
    }

    /// A read under way.
    struct Read: Sendable {
        /// Names the read.
        let number: UInt64
        /// The object.
        let key: ObjectKey
        /// The versions that it may meet.
        var candidates: [ObjectVersion]
        /// When the knowledge was learnt that it began with.
        let learntAt: Duration
        /// Whether a change was under way since the read began.
        var isOverlapped: Bool
        /// The one version that it must have met, as long as nothing overlaps it.
        var onlyVersion: ObjectVersion? { !isOverlapped && candidates.count == 1 ? candidates[0] : nil }
    }

    /// How a read goes on.
    enum ReadPlan {
        /// Nothing is known; the answer counts as it is.
        case pass
        /// The object is known to be deleted.
        case absent
        /// A change has just failed without an answer: give the store until this moment.
        case wait(until: Duration)
        /// Ask, then judge; ends with ``endRead(_:)``.
        case ask(Read)
    }

    /// Whether a change may begin.
    enum Room: Equatable {
        /// It has begun.
        case begun
        /// Others have waited for longer: wait for them.
        case afterOthers
        /// The table is full; try again at this moment.
        case full(until: Duration)
        /// The table is full and nothing is ever forgotten.
        case fullForEver
    }

    /// How a change ended.
    enum Ending {
        /// The objects have this version now.
        case succeeded(ObjectVersion, isSettled: Bool)
        /// It failed, and nothing was changed.
        case failed
        /// It failed, and may have brought this version, or may yet.
        case unanswered(ObjectVersion)
    }

    /// How many versions an object in doubt may have, before it may have any.
    static let versionsMax = 8
    /// How many versions a read may meet, before its answer is not judged but asked for again.
    static let overlapsMax = 64

    /// How long a change waits for room, at most, before it looks again, while places may get free before anything is forgotten.
    static let lookAgain = Duration.seconds(1)

    /// How much is remembered, and for how long.
    let limits: ConsistencyLimits
    private(set) var entries: [ObjectKey: Entry] = [:]
    /// The keys of `entries`.
    private(set) var order = SortedKeys()
    /// What was forgotten beside lists that are under way.
    var lists = ListsUnderWay()
    private var expiries = ExpiryQueue()
    /// The keys that a caller is about to change, or changes.
    private var claimed: Set<ObjectKey> = []
    private var reads: [UInt64: Read] = [:]
    private var readsOf: [ObjectKey: [UInt64]] = [:]
    /// Who waits for room, in the order of coming, and since when.
    private var waiting: [(ticket: UInt64, since: Duration)] = []
    private var numbers: UInt64 = 0

    /// Begins without knowledge.
    init(limits: ConsistencyLimits) { self.limits = limits }

    /// How many objects are remembered.
    mutating func count(now: Duration) -> Int {
        forget(now)
        return entries.count
    }

    /// What is known of an object; for tests.
    func entry(of key: ObjectKey) -> Entry? { entries[key] }

    /// A number that nothing else has.
    mutating func newNumber() -> UInt64 {
        numbers += 1
        return numbers
    }

    // MARK: Changes

    /// Claims keys for a change, from before it waits until it has ended.
    mutating func claim(_ keys: [ObjectKey]) {
        for key in keys {
            precondition(claimed.insert(key).inserted, "two mutations of object \"\(key)\" are in flight")
        }
    }

    /// Ends a claim.
    mutating func release(_ keys: [ObjectKey]) { claimed.subtract(keys) }

    /// When the last change of one of `keys` is old enough for the next; nil: now.
    func dueTime(of keys: [ObjectKey], now: Duration) -> Duration? {
        let due = keys.compactMap { key in entries[key].map { $0.learntAt + limits.minWriteDelay } }.max()
        return due.flatMap { $0 > now ? $0 : nil }
    }

    /// Whether it is certain that `condition` does not hold.
    mutating func contradicts(_ condition: PutCondition, _ key: ObjectKey, now: Duration) -> Bool {
        forget(now)
        guard let entry = entries[key], !entry.hasUnanswered, case .certain(let version)? = entry.knowledge else { return false }
        switch condition {
        case .none: return false
        case .ifAbsent: return !version.isAbsent
        case .ifMatch(let tag): return version.isAbsent || version.tag.map { $0 != tag } ?? false
        }
    }

    /// Begins a change of all of `keys`, if there is room to remember them; all or none, so that two changes never wait for each
    /// other.
    ///
    /// Who needs no room passes those who wait, but not for longer than anything is remembered: else objects that are
    /// changed all the time could keep the table full for ever.
    ///
    /// - Parameters:
    ///   - version: What it makes of each: `.absent` or `.body`.
    ///   - ticket: Of the caller; once in the queue it stays there until it begins or leaves by ``stopWaiting(_:)``.
    mutating func begin(_ version: ObjectVersion, of keys: [ObjectKey], ticket: UInt64, now: Duration) -> Room {
        precondition(keys.count <= limits.objectsMax, "a change is cut to what the table can hold")
        forget(now)
        let sizeAfter = entries.count + keys.count { entries[$0] == nil }
        guard sizeAfter <= limits.objectsMax else {
            guard let keptFor = limits.keptFor else { return .fullForEver }
            enqueue(ticket, now)
            guard waiting.first?.ticket == ticket else { return .afterOthers }
            let expiry = max(nextExpiry ?? now + keptFor, now)
            // A first change of an object gives its place back when it fails, at any time, and wakes nobody.
            let mayFree = entries.values.contains { $0.knowledge == nil }
            return .full(until: mayFree ? min(expiry, now + Self.lookAgain) : expiry)
        }
        if let first = waiting.first, first.ticket != ticket {
            let isStarving = limits.keptFor.map { now >= first.since + $0 } ?? false
            guard sizeAfter == entries.count, !isStarving else {
                enqueue(ticket, now)
                return .afterOthers
            }
        }
        waiting.removeAll { $0.ticket == ticket }
        for key in keys { begin(version, of: key, now) }
        return .begun
    }

    private mutating func begin(_ version: ObjectVersion, of key: ObjectKey, _ now: Duration) {
        var entry = entries[key] ?? Entry(knowledge: nil, learntAt: now)
        precondition(entry.attempted == nil, "one attempt at a time")
        entry.attempted = version
        set(key, entry)
        add(version, toReadsOf: key)
    }

    /// Leaves the queue.
    mutating func stopWaiting(_ ticket: UInt64) { waiting.removeAll { $0.ticket == ticket } }

    /// Who may try to begin next; nil when nobody waits.
    var firstWaiting: UInt64? { waiting.first?.ticket }

    /// Ends the change of `keys`.
    mutating func end(_ keys: [ObjectKey], _ ending: Ending, now: Duration) {
        for key in keys {
            guard var entry = entries[key], entry.attempted != nil else { preconditionFailure("a change begins and ends") }
            entry.attempted = nil
            switch ending {
            case .succeeded(let version, let isSettled):
                entry.knowledge = .certain(version)
                entry.hasUnanswered = entry.hasUnanswered || !isSettled
                add(version, toReadsOf: key)
            case .failed:
                set(key, entry.knowledge == nil ? nil : entry)
                continue
            case .unanswered(let version):
                entry.addDoubt(version)
            }
            entry.learntAt = now
            entry.stamp = newNumber()
            set(key, entry)
            if limits.keptFor != nil { expiries.append(key, entry.stamp) }
        }
        expiries.compact(liveCount: entries.count) { entries[$0]?.stamp == $1 }
    }

    // MARK: Reads

    /// Begins to read `key`.
    ///
    /// - Parameter hasWaited: Whether the caller has waited as it was told; it is told once only.
    mutating func beginRead(of key: ObjectKey, hasWaited: Bool, now: Duration) -> ReadPlan {
        forget(now)
        guard let entry = entries[key], let knowledge = entry.knowledge else { return .pass }
        if let attempted = entry.attempted {
            return knowledge.versions.map { ask(key, $0 + [attempted], entry) } ?? .pass
        }
        switch knowledge {
        case .certain(.absent): return .absent
        case .certain(let version): return ask(key, [version], entry)
        case .inDoubt(let versions):
            let quietAt = entry.learntAt + limits.minWriteDelay
            if quietAt > now, !hasWaited { return .wait(until: quietAt) }
            return versions.map { ask(key, $0, entry) } ?? .pass
        }
    }

    /// Begins to ask for the attributes of `key`.
    ///
    /// Whoever watches a change that had no answer asks in this way what the store really has; so the answer is judged only
    /// where no change had none.
    mutating func beginHead(of key: ObjectKey, now: Duration) -> ReadPlan {
        forget(now)
        guard let entry = entries[key], entry.attempted == nil, !entry.hasUnanswered else { return .pass }
        return beginRead(of: key, hasWaited: true, now: now)
    }

    private mutating func ask(_ key: ObjectKey, _ candidates: [ObjectVersion], _ entry: Entry) -> ReadPlan {
        let read = Read(
            number: newNumber(), key: key, candidates: candidates, learntAt: entry.learntAt, isOverlapped: entry.attempted != nil)
        reads[read.number] = read
        readsOf[key, default: []].append(read.number)
        return .ask(read)
    }

    private mutating func add(_ version: ObjectVersion, toReadsOf key: ObjectKey) {
        for number in readsOf[key] ?? [] {
            reads[number]?.isOverlapped = true
            // One too many is enough to tell that it was too much.
            guard let count = reads[number]?.candidates.count, count <= Self.overlapsMax else { continue }
            reads[number]?.candidates.append(version)
        }
    }

    /// A read as it stands now, with what has overlapped it.
    ///
    /// - Returns: Nil when too much has, so that its answer says nothing.
    func read(_ read: Read) -> Read? {
        guard let read = reads[read.number] else { preconditionFailure("a read is under way until it ends") }
        return read.candidates.count <= Self.overlapsMax ? read : nil
    }

    /// Whether a change of `key` had no answer.
    func hasUnanswered(_ key: ObjectKey) -> Bool { entries[key]?.hasUnanswered ?? false }

    /// Ends a read.
    mutating func endRead(_ read: Read) {
        reads[read.number] = nil
        let others = (readsOf[read.key] ?? []).filter { $0 != read.number }
        readsOf[read.key] = others.isEmpty ? nil : others
    }

    // MARK: Forgetting

    private mutating func enqueue(_ ticket: UInt64, _ now: Duration) {
        guard !waiting.contains(where: { $0.ticket == ticket }) else { return }
        waiting.append((ticket, now))
    }

    /// When the oldest knowledge is forgotten; nil when there is none.
    private var nextExpiry: Duration? {
        guard let keptFor = limits.keptFor, let (key, _) = expiries.first(where: { entries[$0]?.stamp == $1 }) else { return nil }
        return entries[key].map { $0.learntAt + keptFor }
    }

    /// Forgets what is old enough.
    mutating func forget(_ now: Duration) {
        guard let keptFor = limits.keptFor else { return }
        while let (key, stamp) = expiries.first {
            if var entry = entries[key], entry.stamp == stamp {
                guard entry.learntAt + keptFor <= now else { return }
                lists.note(key, entry.knowledge)
                entry.knowledge = nil
                // A change under way keeps its place.
                set(key, entry.attempted == nil ? nil : entry)
            }
            expiries.removeFirst()
        }
    }

    private mutating func set(_ key: ObjectKey, _ entry: Entry?) {
        let wasThere = entries[key] != nil
        entries[key] = entry
        guard wasThere != (entry != nil) else { return }
        if wasThere { order.remove(key) } else { order.insert(key) }
    }
}

extension ConsistencyStateMachine.Entry {
    /// Takes note that the object may have `version`, too.
    fileprivate mutating func addDoubt(_ version: ObjectVersion) {
        hasUnanswered = true
        guard var versions = knowledge?.versions else {
            knowledge = .inDoubt(nil)
            return
        }
        if !versions.contains(version) { versions.append(version) }
        knowledge = .inDoubt(versions.count <= ConsistencyStateMachine.versionsMax ? versions : nil)
    }
}
