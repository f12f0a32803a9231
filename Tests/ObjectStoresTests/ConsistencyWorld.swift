// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import DataPath
import ObjectStores
import StoreTesting
import Synchronization

/// A stale and faulty store, the layers over it, clients, and a model of what each object may be; all from a seed.
final class ConsistencyWorld: Sendable {
    /// What came of a run.
    struct Outcome {
        var violations: [String]
        /// Answers of the store that were old.
        var staleCount: Int
        /// Reads that gave something.
        var goodReads: Int
    }

    private let seed: UInt64
    private let timeline = ManualTimeline()
    private let stale: StaleObjectStore
    private let faulty: FaultyObjectStore
    /// Whether a change without an answer may arrive later, and undo what came after it; then the guard is right to refuse it.
    private let hasLateArrivals: Bool
    private let top: any ObjectStore
    private let keptFor: Duration?
    private let keys: [ObjectKey]
    private let stepsPerClient: Int
    private let book: Mutex<Book>

    private struct Book {
        var models: [ObjectKey: ObjectModel] = [:]
        var violations: [String] = []
        var goodReads = 0
    }

    /// Draws a world.
    init(seed: UInt64, isGuarded: Bool) {
        var generator = SeededGenerator(seed: seed)
        self.seed = seed
        keys = (0..<Int.random(in: 1...3, using: &generator)).map { ObjectKey("b\($0)") }
        stepsPerClient = Int.random(in: 3...7, using: &generator)
        let isForEver = generator.chance(0.5)
        keptFor = isForEver ? nil : .seconds(Int.random(in: 2...60, using: &generator))
        let limits = ConsistencyLimits(
            objectsMax: isForEver ? keys.count : Int.random(in: 1...keys.count, using: &generator), keptFor: keptFor,
            minWriteDelay: .milliseconds([0, 500, 3000][Int.random(in: 0..<3, using: &generator)]))
        let staleness = StalenessPlan(
            staleAnswers: 0.2 + 0.6 * generator.fraction(), convergenceMax: keptFor, truthfulConditions: 0.3)
        stale = StaleObjectStore(over: MemoryObjectStore(), plan: staleness, seed: generator.next(), timeline: timeline)
        let faults = Self.faults(&generator)
        hasLateArrivals = faults.lateArrival > 0
        faulty = FaultyObjectStore(over: stale, plan: faults, seed: generator.next(), timeline: timeline)
        var bottom: any ObjectStore = generator.chance(0.2) ? TaglessStore(over: faulty) : faulty
        // So that something is forgotten between the moment that a list shows and its arrival.
        if generator.chance(0.3) {
            bottom = SlowLists(
                over: bottom, pauseMax: keptFor ?? .seconds(5), seed: generator.next(), timeline: timeline)
        }
        let verifying = VerifyingObjectStore(over: bottom, logger: silent)
        let guarded: any ObjectStore =
            isGuarded
            ? ConsistencyGuard(
                over: verifying, limits: limits, guards: { $0.name.hasPrefix("b") }, timeline: timeline, logger: silent)
            : verifying
        let pauses = RetryPolicy(
            initialPause: .milliseconds(200), totalPauseMax: .seconds([0, 1, 30][Int.random(in: 0..<3, using: &generator)]))
        top = RetryingObjectStore(
            over: CheckedObjectStore(over: guarded, logger: silent), policy: pauses, isSigned: true, timeline: timeline,
            jitter: { 0 }, logger: silent)
        book = Mutex(Book(models: Dictionary(uniqueKeysWithValues: keys.map { ($0, ObjectModel()) })))
    }

    private static func faults(_ generator: inout SeededGenerator) -> ObjectFaultPlan {
        var plan = ObjectFaultPlan()
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: break
        case 1:
            plan.answerLost = 0.2
            plan.timeout = 0.1
        case 2:
            plan = .rough
            plan.lateDelayMax = .seconds(20)
        default:
            plan.refused = 0.1
            plan.serverError = 0.1
            plan.lateArrival = 0.15
            plan.lateDelayMax = .seconds(20)
        }
        plan.latencyMax = .milliseconds(100)
        plan.stall = .seconds(2)
        return plan
    }

    /// Runs all clients to their end.
    ///
    /// - Throws: When they do not come to one.
    func run() throws -> Outcome {
        var generator = SeededGenerator(seed: seed ^ 0x5eed)
        let seeds = (0...2 * keys.count).map { _ in generator.next() }
        try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 100_000) { [self] in
            await withTaskGroup { group in
                for (index, key) in keys.enumerated() {
                    group.addTask { await self.change(key, SeededGenerator(seed: seeds[2 * index])) }
                    group.addTask { await self.look(at: key, SeededGenerator(seed: seeds[2 * index + 1])) }
                }
            }
            if !hasLateArrivals { await expectBelief() }
        }
        return book.withLock { book in
            Outcome(violations: book.violations, staleCount: stale.staleCount, goodReads: book.goodReads)
        }
    }

    /// Reads every object once the store is honest and sound: then nothing true may be refused.
    private func expectBelief() async {
        stale.setPlan(StalenessPlan(staleAnswers: 0, convergenceMax: .zero, truthfulConditions: 1))
        faulty.setPlan(ObjectFaultPlan())
        for key in keys {
            do throws(ObjectStoreError) {
                _ = try await top.get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
                _ = try await top.head(key, .foreground)
            } catch {
                book.withLock { $0.violations.append("get of \(key): refused what is true: \(error)") }
            }
        }
    }

    // MARK: Clients

    /// The one client that changes `key`.
    private func change(_ key: ObjectKey, _ generator: SeededGenerator) async {
        var generator = generator
        for step in 0..<stepsPerClient {
            await pause(&generator)
            let text: String? = generator.chance(0.3) ? nil : "\(key).\(step)"
            let now = timeline.now
            book.withLock { $0.models[key]?.begin(text, now: now) }
            do throws(ObjectStoreError) {
                let mutation: Mutation
                if let text {
                    mutation = try await top.put(key, body(text), ObjectMetadata(), .none, .foreground)
                } else {
                    mutation = try await top.delete([key], .foreground)
                }
                end(key, mutation.isSettled ? .done : .doneUnsettled)
            } catch {
                end(key, error.outcomeIsUnknown ? .unknown : .notDone)
            }
            if generator.chance(0.5) { await get(key, &generator) }
        }
    }

    private func end(_ key: ObjectKey, _ ending: ObjectModel.Ending) {
        book.withLock { $0.models[key]?.end(ending) }
    }

    /// A client that looks at `key` at any time.
    private func look(at key: ObjectKey, _ generator: SeededGenerator) async {
        var generator = generator
        for _ in 0..<stepsPerClient {
            await pause(&generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: await head(key)
            case 1: await list(&generator)
            default: await get(key, &generator)
            }
        }
    }

    private func pause(_ generator: inout SeededGenerator) async {
        let pause = generator.duration(upTo: generator.chance(0.2) ? .seconds(10) : .milliseconds(200))
        do { try await timeline.sleep(until: timeline.now + pause) } catch {}
    }

    private func get(_ key: ObjectKey, _ generator: inout SeededGenerator) async {
        let range: Range<Int>? = generator.chance(0.2) ? 0..<3 : nil
        let ticket = beginRead(key)
        let known = generator.chance(0.5) ? ticket.held.randomElement(using: &generator) : nil
        let read: ObjectRead
        do throws(ObjectStoreError) {
            let tag = known.map { Self.tag($0) }
            read = try await top.get(key, range: range, ifMatch: nil, ifNoneMatch: tag, .foreground)
        } catch {
            endRead("get", ticket, .nothing)
            return
        }
        switch read {
        case .absent: endRead("get", ticket, .value(nil))
        case .unchanged: endRead("get", ticket, .value(known))
        case .object(let object):
            let text = String(decoding: object.body.bytes, as: UTF8.self)
            endRead("get", ticket, range == nil ? .value(text) : .start(text))
        }
    }

    private func head(_ key: ObjectKey) async {
        let ticket = beginRead(key)
        do throws(ObjectStoreError) {
            switch try await top.head(key, .foreground) {
            case .absent: endRead("head", ticket, .value(nil), isFirm: true)
            case .present(let attributes):
                endRead("head", ticket, attributes.eTag.map { .tag($0) } ?? .nothing, isFirm: true)
            }
        } catch {
            endRead("head", ticket, .nothing)
        }
    }

    private func list(_ generator: inout SeededGenerator) async {
        let limit = Int.random(in: 1...4, using: &generator)
        var listed: [ObjectListEntry] = []
        var after: ObjectKey?
        let tickets = keys.map { beginRead($0) }
        do throws(ObjectStoreError) {
            repeat {
                let page = try await top.list(prefix: "b", after: after, limit: limit, .foreground)
                listed += page.entries
                after = page.next
            } while after != nil
        } catch {
            for ticket in tickets { endRead("list", ticket, .nothing) }
            return
        }
        for ticket in tickets {
            let line = listed.first { $0.key == ticket.key }
            let answer: ObjectModel.Answer = line.map { line in line.eTag.map { .tag($0) } ?? .nothing } ?? .value(nil)
            endRead("list", ticket, answer, isFirm: true)
        }
    }

    // MARK: The model

    private func beginRead(_ key: ObjectKey) -> ObjectModel.Ticket {
        let now = timeline.now
        return book.withLock { book in
            guard let ticket = book.models[key]?.beginRead(key, now: now, keptFor: keptFor) else {
                preconditionFailure("every key has a model")
            }
            return ticket
        }
    }

    /// - Parameter isFirm: Whether the answer is judged only where the model knows exactly one value, and no attempt is open.
    private func endRead(
        _ kind: String, _ ticket: ObjectModel.Ticket, _ answer: ObjectModel.Answer, isFirm: Bool = false
    ) {
        let now = timeline.now
        book.withLock { book in
            guard let possible = book.models[ticket.key]?.endRead(ticket, now: now, keptFor: keptFor) else { return }
            if case .nothing = answer { return }
            book.goodReads += 1
            let isCertain = possible.values.count == 1 && !possible.isOpen
            guard !isFirm || isCertain else { return }
            guard !possible.values.contains(where: { answer.matches($0) }) else { return }
            book.violations.append("\(kind) of \(ticket.key): found \(answer), not \(possible.values)")
        }
    }

    static func tag(_ text: String) -> ETag { ETag(hexadecimal(Digest.md5.hash(text))) }
}

/// What one object may be, for a reader who believes all that was returned.
struct ObjectModel {
    /// How a change ended.
    enum Ending { case done, doneUnsettled, notDone, unknown }

    /// What a read found.
    enum Answer: CustomStringConvertible {
        case nothing
        case value(String?)
        case start(String)
        case tag(ETag)

        var description: String {
            switch self {
            case .nothing: "nothing"
            case .value(let text), .start(let text as String?): text ?? "absent"
            case .tag(let tag): tag.text
            }
        }

        func matches(_ value: String?) -> Bool {
            switch self {
            case .nothing: true
            case .value(let found): found == value
            case .start(let start): value.map { $0.hasPrefix(start) } ?? false
            case .tag(let tag): value.map { ConsistencyWorld.tag($0) == tag } ?? false
            }
        }
    }

    /// A read under way.
    struct Ticket {
        let key: ObjectKey
        let number: Int
        /// The values that the reader may pretend to hold, old ones too: a copy must not be called unchanged that is not the newest.
        let held: [String]
    }

    /// What may be read.
    struct Possible {
        var values: Set<String?>
        /// Whether a change was under way, or had no answer before: then HEAD shows what the store has, right or wrong.
        var isOpen: Bool
    }

    private var values: Set<String?> = [nil]
    /// All that ever was to be written.
    private var written: [String] = []
    private var running: String??
    private var runningSince = Duration.zero
    /// What attempts without an answer would write; any of them may arrive late.
    private var unanswered: Set<String?> = []
    /// When the last change began that the values come from.
    private var since = Duration.zero
    private var reads: [Int: Possible] = [:]
    private var readCount = 0

    mutating func begin(_ value: String?, now: Duration) {
        runningSince = now
        running = .some(value)
        if let value { written.append(value) }
        for number in reads.keys {
            reads[number]?.values.insert(value)
            reads[number]?.isOpen = true
        }
    }

    mutating func end(_ ending: Ending) {
        guard case .some(let value) = running else { preconditionFailure("a change begins and ends") }
        running = nil
        switch ending {
        case .done, .doneUnsettled: values = [value]
        case .unknown: values.insert(value)
        case .notDone: return
        }
        if ending != .done { unanswered.insert(value) }
        since = runningSince
    }

    mutating func beginRead(_ key: ObjectKey, now: Duration, keptFor: Duration?) -> Ticket {
        readCount += 1
        reads[readCount] = Possible(values: possible(now, keptFor), isOpen: running != nil || !unanswered.isEmpty)
        return Ticket(key: key, number: readCount, held: written)
    }

    mutating func endRead(_ ticket: Ticket, now: Duration, keptFor: Duration?) -> Possible? {
        guard var possible = reads.removeValue(forKey: ticket.number) else { return nil }
        possible.values.formUnion(self.possible(now, keptFor))
        possible.isOpen = possible.isOpen || !unanswered.isEmpty
        return possible
    }

    /// What is known when it is not forgotten yet, and else whatever may have arrived since.
    private func possible(_ now: Duration, _ keptFor: Duration?) -> Set<String?> {
        var possible = values
        if let running { possible.insert(running) }
        if let keptFor, now >= since + keptFor { possible.formUnion(unanswered) }
        return possible
    }
}
