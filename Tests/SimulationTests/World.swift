// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Logging
import ObjectStores
import StoreTesting
import Synchronization
import Volumes

/// Something that must never happen has happened.
struct Violation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// What happened in a life, as counts by name.
typealias Census = [String: Int]

/// What outlives every mount of a volume: the store, the clock, and the model of what the volume must hold.
final class World: Sendable {
    /// What is known of the volume; all of it is changed between two suspensions, so it is always consistent.
    struct Book: Sendable {
        var model: DiskModel
        /// How many mutations were begun; each writes values of its own.
        var mutationCount: UInt64 = 0
        /// Of each block, how many late arrivals there were when the last flush that succeeded began.
        var arrivalsFlushed: [Int]
        /// Of each block, how many mutations of it run.
        var running: [Int]
        var census: Census = [:]
        /// What was seen to go wrong where nobody could be told.
        var violation: String?
    }

    let scenario: Scenario
    let timeline = ManualTimeline()
    let faulty: FaultyObjectStore
    let pool = BufferPool(retainedBytesMax: 1 << 20)
    let logger: Logger
    let book: Mutex<Book>
    let passwords = Mutex(Passwords())
    /// The objects themselves.
    let memory = MemoryObjectStore()
    private let generator: Mutex<SeededGenerator>
    /// Decides what has to do with forms and passwords.
    private let forms: Mutex<SeededGenerator>

    /// Makes an empty bucket.
    init(_ scenario: Scenario, trace: Trace?) {
        self.scenario = scenario
        var generator = SeededGenerator(seed: scenario.seed ^ 0x5eed)
        let below: any ObjectStore = scenario.ignoresConditions ? UnconditionalStore(over: memory) : memory
        faulty = FaultyObjectStore(over: below, plan: scenario.plan, seed: generator.next(), timeline: timeline)
        self.generator = Mutex(generator)
        forms = Mutex(SeededGenerator(seed: scenario.seed ^ 0xc0dec))
        let blocks = scenario.geometry.blockCount
        book = Mutex(
            Book(
                model: DiskModel(sizeBytes: blocks * Scenario.unitsPerBlock * 8, sectorSizeBytes: 8),
                arrivalsFlushed: [Int](repeating: 0, count: blocks), running: [Int](repeating: 0, count: blocks)))
        var logger = Logger(label: "simulation") { [timeline] _ in
            if let trace { TraceLog(trace, timeline) } else { SwiftLogNoOpLogHandler() }
        }
        logger.logLevel = trace == nil ? .critical : .debug
        self.logger = logger
    }

    /// Bytes of one unit.
    var unitSize: Int { scenario.geometry.blockSize / Scenario.unitsPerBlock }
    /// Units of the whole disk.
    var unitCount: Int { scenario.geometry.blockCount * Scenario.unitsPerBlock }

    /// A generator for another part of the run.
    func makeGenerator() -> SeededGenerator { generator.withLock { $0.split() } }

    /// True with the given probability; of forms and passwords.
    func chance(_ probability: Double) -> Bool { forms.withLock { $0.chance(probability) } }

    /// One of 0 ..< count; of forms and passwords.
    func choice(of count: Int) -> Int { forms.withLock { Int.random(in: 0..<count, using: &$0) } }

    /// A generator for another part of what has to do with forms and passwords.
    func splitGenerator() -> SeededGenerator { forms.withLock { $0.split() } }

    /// Ends all faults.
    func heal() { faulty.setPlan(Scenario.healthy) }

    /// Counts something that happened.
    func count(_ name: String, _ number: Int = 1) { book.withLock { $0.census[name, default: 0] += number } }

    /// Notes that something is wrong; ``compareStore(_:)`` throws it.
    func report(_ violation: String) { book.withLock { $0.violation = $0.violation ?? violation } }

    /// What happened, the faults included.
    var finalCensus: Census {
        var census = book.withLock { $0.census }
        for (fault, count) in faulty.faultCounts { census["fault \(fault)", default: 0] += count }
        for block in 0..<scenario.geometry.blockCount { census["late arrivals", default: 0] += arrivals(block) }
        census["late arrivals of keys"] = faulty.lateArrivalCount(of: scenario.keys.volumeKeyKey)
        census["form \(scenario.form)"] = 1
        return census
    }

    // MARK: The store, seen without the layers

    /// The name of a block's object, made by the test's own hand.
    func key(_ block: Int) -> ObjectKey {
        let digits = String(block, radix: 16)
        return ObjectKey(scenario.keys.prefix + String(repeating: "0", count: 8 - digits.count) + digits)
    }

    /// How many late requests have changed a block's object.
    func arrivals(_ block: Int) -> Int { faulty.lateArrivalCount(of: key(block)) }

    /// How many late requests have changed any object of the volume.
    var lateArrivals: Int {
        let others = [scenario.keys.mountTokenKey, scenario.keys.volumeKeyKey]
        return (0..<scenario.geometry.blockCount).reduce(0) { $0 + arrivals($1) }
            + others.reduce(0) { $0 + faulty.lateArrivalCount(of: $1) }
    }

    /// Whether block 0 has an object, with the right sizes.
    func hasFirstBlock() async throws -> Bool {
        guard case .present(let attributes) = try await memory.head(key(0), .foreground) else { return false }
        let wanted = [
            "s3backer-blocksize": "\(scenario.geometry.blockSize)", "s3backer-filesize": "\(scenario.geometry.sizeBytes)",
        ]
        var user = attributes.metadata.user
        let hasAuthentication = user.removeValue(forKey: "s3backer-hmac") != nil
        guard user == wanted, hasAuthentication == scenario.form.isCompatible else {
            throw Violation("block 0 has the metadata \(attributes.metadata)")
        }
        return true
    }

    /// The token in the bucket.
    func tokenOnStore() async throws -> MountToken? {
        let object = MountTokenObject(in: memory, keys: scenario.keys, hostName: "inspector", timeline: timeline)
        return try await object.read(.foreground)?.token
    }

    /// The value of each unit of a block, read from the store itself; absent objects are zeros.
    func unitsOnStore(_ block: Int) async throws -> [UInt64] {
        guard let bytes = try await blockOnStore(block) else { return [UInt64](repeating: 0, count: Scenario.unitsPerBlock) }
        return Units.values(of: bytes, unitSize: unitSize)
    }

    /// Compares every object with the model, and the names of all objects with those that there may be.
    ///
    /// - Returns: The value of each unit.
    @discardableResult
    func compareStore(_ moment: String) async throws -> [UInt64] {
        if let violation = book.withLock({ $0.violation }) { throw Violation(violation) }
        var all: [UInt64] = []
        for block in 0..<scenario.geometry.blockCount { all += try await unitsOnStore(block) }
        let found = all
        let wrong = book.withLock { book in
            let ticket = book.model.beginRead(0..<found.count * 8)
            return book.model.endRead(ticket, Units.bytes(found))
        }
        if let wrong { throw Violation("the store \(moment): \(wrong)") }
        let others = [scenario.keys.mountTokenKey] + (scenario.form.hasKey ? [scenario.keys.volumeKeyKey] : [])
        let allowed = Set((0..<scenario.geometry.blockCount).map(key) + others)
        for key in memory.keys where !allowed.contains(key) { throw Violation("an object too many: \(key)") }
        let hasFirstBlock = try await hasFirstBlock()
        if !hasFirstBlock, memory.keys.contains(where: { !others.contains($0) }) {
            throw Violation("there are blocks, but no block 0 \(moment)")
        }
        return all
    }

    // MARK: After the end of a mount that knew more than the store

    /// Decides about the requests that a dead mount left on their way, and tells the model what they may have done.
    ///
    /// What a late request undid since the last flush of its block is gone with the memory of the mount that watched it; and
    /// what arrives from now on, nobody watches. That is the one gap that Docs/Semantics.md owns to; everything else is exact.
    func settleAfterCrash() async throws {
        let delivers = generator.withLock { $0.chance(0.5) }
        if delivers { try await faulty.deliverLate() } else { faulty.forgetLate() }
        for block in 0..<scenario.geometry.blockCount {
            let arrived = arrivals(block)
            let isUndone = book.withLock { arrived > $0.arrivalsFlushed[block] }
            book.withLock { $0.arrivalsFlushed[block] = arrived }
            guard isUndone else { continue }
            count("blocks that a late request may have undone")
            let found = try await unitsOnStore(block)
            let first = block * Scenario.unitsPerBlock
            try book.withLock { book in
                for (index, value) in found.enumerated() {
                    guard Units.isIssued(value, unit: first + index, upTo: book.mutationCount) else {
                        throw Violation("block \(block) holds what nobody wrote")
                    }
                }
                let ticket = book.model.beginWrite(Units.bytes(found), at: first * 8)
                book.model.endMutation(ticket, succeeded: false)
            }
        }
    }
}
