// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting

@testable import BlockStores

/// The contents of a sector: a number for each of its two halves, 0 for zeros. No two writes bring the same number.
typealias CacheCell = UInt64

/// Everything around the cache's state machine, played at random from a seed: requests, tasks, slots, the store, time.
///
/// It knows three contents of each sector: what readers must see, what each slot holds, and what the store holds. It does what
/// `BlockCache` does, one step of one task at a time, so that everything overlaps with everything.
final class CacheWorld {
    /// What a sector holds that nobody has written, or that is being written.
    static let garbage = CacheCell.max
    static let sectorCount = 4

    let seed: UInt64
    var random: SeededGenerator
    var machine: CacheStateMachine
    let blockCount: Int
    let isPersistent: Bool
    let flushTimeout: Duration?

    var now = Duration.zero
    /// How many steps were taken.
    var clock = 0
    var tasks: [CacheTask] = []
    /// The first thing that went wrong.
    var problem: String?
    /// How probable it is that the store, or the local disk, fails.
    var storeFailures = 0.0
    var diskFailures = 0.0
    /// How probable it is that an answer of the store is not here yet.
    let fetchDelay: Double
    var isDraining = false

    // What readers must see: each content with the step since which it counts.
    var history: [[[(since: Int, cell: CacheCell)]]]
    /// From which place of the history on the store's contents must be, since a flush has promised it.
    var promised: [[Int]]
    /// How often a block was zeroed.
    var zeroCounts: [Int]

    // The store.
    var store: [[CacheCell]]
    var storeVersions: [Int]
    var isChanging: [Bool]
    /// How many mutations of a block began or ended.
    var changeCounts: [Int]
    /// What a map of zeros below knows.
    var isKnownZero: [Bool]

    // The storage.
    var bytes: [[CacheCell]]
    var tenants: [Int?]
    var slotVersions: [Int]
    /// Sectors with bytes of a writer that the store does not have.
    var userSectors: [Set<Int>]
    /// Slots whose last dirty bytes ended at the given step: they may get another block after a commit that began later.
    var heldBack: [Int: Int] = [:]

    // Who waits.
    var copiers: [UInt64: CacheTask] = [:]
    var fetchers: [BlockNumber: [CacheTask]] = [:]
    var line: [CacheTask] = []
    var admittedCount = 0
    var successors: [BlockNumber: [CacheTask]] = [:]
    var flushers: [UInt64: FlushTask] = [:]
    var isRung = true
    var deadline: Duration?

    var seen: Set<CacheTransition> = []
    var labels: [CacheLabel]
    private var lastVersion: UInt32 = 0

    init(seed: UInt64) {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        let slotCount = Int.random(in: 1...5, using: &random)
        let blockCount = Int.random(in: 2...8, using: &random)
        self.blockCount = blockCount
        isPersistent = Bool.random(using: &random)
        fetchDelay = random.chance(0.5) ? 0.95 : 0
        flushTimeout = random.chance(0.3) ? .milliseconds(80) : nil
        machine = CacheStateMachine(
            CacheStateMachine.Limits(
                blockCount: blockCount, sectorsPerBlock: Self.sectorCount, slotCount: slotCount,
                dirtyMax: Int.random(in: 1...slotCount, using: &random), protectedCount: Int.random(in: 0...2, using: &random),
                uploadsMax: Int.random(in: 1...4, using: &random), aheadMax: Int.random(in: 1...2, using: &random),
                writeDelay: .milliseconds(10), keptFor: random.chance(0.3) ? .milliseconds(40) : nil,
                failurePause: .milliseconds(20), isPersistent: isPersistent))
        history = []
        promised = Array(repeating: Array(repeating: 0, count: Self.sectorCount), count: blockCount)
        zeroCounts = Array(repeating: 0, count: blockCount)
        store = Array(repeating: Array(repeating: 0, count: Self.sectorCount), count: blockCount)
        storeVersions = Array(repeating: 0, count: blockCount)
        isChanging = Array(repeating: false, count: blockCount)
        changeCounts = Array(repeating: 0, count: blockCount)
        isKnownZero = Array(repeating: false, count: blockCount)
        bytes = Array(repeating: Array(repeating: Self.garbage, count: Self.sectorCount), count: slotCount)
        tenants = Array(repeating: nil, count: slotCount)
        slotVersions = Array(repeating: -1, count: slotCount)
        userSectors = Array(repeating: [], count: slotCount)
        labels = Array(repeating: .free, count: slotCount)
        self.random = random
        begin()
    }

    // MARK: Chance

    func chance(_ probability: Double) -> Bool { random.chance(probability) }

    func number(below limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

    func anyBlock() -> BlockNumber { BlockNumber(number(below: blockCount)) }

    func freshVersion() -> UInt32 {
        lastVersion += 1
        return lastVersion
    }

    /// The contents of a sector after both of its halves were written.
    func freshCell() -> CacheCell {
        let version = CacheCell(freshVersion())
        return version << 32 | version
    }

    func fail(_ what: String) {
        if problem == nil { problem = "seed \(seed), step \(clock): \(what)" }
    }

    // MARK: Steps

    /// Lives through `count` steps, then lets everything come to rest.
    func live(_ count: Int) {
        for _ in 0..<count where problem == nil {
            step()
            check()
        }
        if problem == nil { drain() }
        if let problem { self.problem = "\(problem) [\(machine.limits)]" }
    }

    private func step() {
        clock += 1
        if clock % 128 == 0 {
            storeFailures = [0, 0, 0.1, 0.5, 1][number(below: 5)]
            diskFailures = chance(0.3) ? 0.3 : 0
        }
        switch number(below: 20) {
        case 0..<5 where tasks.count < 14: tasks.append(makeRequest())
        case 5..<7:
            now += .microseconds(number(below: 4000))
            if chance(0.01) { now += .milliseconds(50) }
        case 7..<10: pumpIfRung()
        case 10: disturb()
        default: if !stepTask() { pumpIfRung() }
        }
    }

    /// Lets some task that can go on do so.
    ///
    /// - Returns: False if there is none.
    private func stepTask() -> Bool {
        guard !tasks.isEmpty else { return false }
        let start = number(below: tasks.count)
        for offset in tasks.indices {
            let index = (start + offset) % tasks.count
            let task = tasks[index]
            guard task.isReady else { continue }
            // One that was cancelled is over already.
            if !task.isOver { task.step(self) }
            if task.isOver { tasks.removeAll { $0 === task } }
            return true
        }
        return false
    }

    private func makeRequest() -> CacheTask {
        switch number(below: 40) {
        case 0..<12: return ReadTask(self)
        case 12..<29: return WriteTask(self)
        case 29..<33: return ZeroTask(self)
        case 33..<36: return FlushTask(self)
        case 36: return ExtentsTask(self)
        default: return ReadAheadTask()
        }
    }

    /// What happens from outside now and then: somebody gives up waiting, the store is listed.
    private func disturb() {
        if chance(0.4), let task = tasks.randomElement(using: &random), !task.isReady { return task.cancel(self) }
        let block = anyBlock()
        guard let slot = machine.slot(of: block), !isChanging[Int(block.rawValue)] else { return }
        let isUnverified = machine.slotToVerify(block) == slot
        if isUnverified, slotVersions[Int(slot.rawValue)] == storeVersions[Int(block.rawValue)] { machine.confirm(block) }
    }

    private func pumpIfRung() {
        if let deadline, deadline <= now { isRung = true }
        if isRung { pump() }
    }

    // MARK: Rest

    /// No more requests, and nothing fails: everything has to come to an end, and the store to what readers saw last.
    private func drain() {
        isDraining = true
        storeFailures = 0
        diskFailures = 0
        if chance(0.5) {
            machine.beginDraining()
            isRung = true
        }
        for _ in 0..<20_000 where problem == nil {
            clock += 1
            let isRunning = chance(0.3) ? false : stepTask()
            if !isRunning, isRung {
                pump()
            } else if !isRunning, !stepTask() {
                guard let deadline else { break }
                now = max(now, deadline)
                isRung = true
            }
            if clock % 8 == 0 { check() }
        }
        if problem == nil { checkRest() }
    }
}
