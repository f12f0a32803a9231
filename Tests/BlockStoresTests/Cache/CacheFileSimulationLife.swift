// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import StoreTesting
import Synchronization

@testable import BlockStores

/// One life of a process that has the cache, from the start on what the last one left to its end.
final class CacheFileSimulationLife: Sendable {
    struct State: Sendable {
        var generator: SeededGenerator
        /// The step at which the process dies; nil when it does not.
        var crashStep: Int?
        /// The step at which a crash is imagined next.
        var lookStep: Int
        var isDead = false
        var cancel: (@Sendable () -> Void)?
        var failure: (any Error)?
    }
    let simulation: CacheFileSimulation
    let store: CacheFileSimulationStore
    let isLast: Bool
    private let timeline = ManualTimeline()
    private let isFaulty: Bool
    let state: Mutex<State>

    init(_ simulation: CacheFileSimulation, isLast: Bool) throws {
        self.simulation = simulation
        self.isLast = isLast
        var generator = simulation.state.withLock { $0.generator.split() }
        let failures = [0, 0, 0.1, 0.3, 1][Int(generator.next() % 5)]
        isFaulty = failures > 0
        let isKilled = failures == 1 || generator.chance(isLast ? 0.3 : 0.8)
        let crashStep = isKilled ? Int.random(in: 20...[200, 2000, 6000][Int(generator.next() % 3)], using: &generator) : nil
        state = Mutex(
            State(generator: generator, crashStep: crashStep, lookStep: Int.random(in: 1...400, using: &generator)))
        let bucket = simulation.state.withLock { $0.bucket }
        store = CacheFileSimulationStore(
            bucket, geometry: try geometry(CacheFileSimulation.blockSize, simulation.form.blockCount), seed: generator.next(),
            failureProbability: failures, timeline: timeline, note: { simulation.note($0) },
            onChange: { simulation.store($0, in: $1, over: $2) })
    }

    /// Lives.
    func run() throws {
        let seed = state.withLock { $0.generator.next() }
        let executor = CacheFileSimulationExecutor(seed: seed, timeline: timeline, stepsMax: 200_000) { [self] step in tick(step)
        }
        try executor.run(onStart: { cancel in state.withLock { $0.cancel = cancel } }) { [self] in
            do { try await live(executor) } catch { if !isDead { throw error } }
        }
        if let failure = state.withLock({ $0.failure }) { throw failure }
        if let violation = store.state.withLock({ $0.violation }) { throw simulation.violation("the store: \(violation)") }
        if !isDead { try end() }
    }

    var isDead: Bool { state.withLock { $0.isDead } }

    // MARK: Crashes

    /// Before each step: perhaps the process dies, perhaps it is only imagined.
    private func tick(_ step: Int) {
        let (looks, dies) = state.withLock { state in
            guard !state.isDead else { return (false, false) }
            return (step >= state.lookStep, state.crashStep.map { step >= $0 } ?? false)
        }
        guard looks || dies else { return }
        do {
            try crash(isReal: dies)
        } catch {
            state.withLock { state in
                state.failure = error
                state.isDead = true
            }
            stop()
            return
        }
        state.withLock { $0.lookStep = step + Int.random(in: 50...500, using: &$0.generator) }
    }

    private func crash(isReal: Bool) throws {
        let simulation = simulation
        if isReal {
            state.withLock { $0.isDead = true }
            _ = store.state.withLock { $0.bucket.settle(nil, &$0.generator) }
            stop()
        }
        let bucket = store.state.withLock { $0.bucket }
        simulation.state.withLock { state in
            state.bucket = bucket
            if isReal { state.model.isFrozen = true }
        }
        let crash = simulation.someCrash()
        let image = simulation.image(after: crash)
        if isReal { simulation.note("CRASH: \(crash)") }
        simulation.count(isReal ? "crash" : "look")
        let found = try simulation.look(at: image, after: crash)
        guard isReal else { return }
        simulation.note("found \(found)")
        simulation.state.withLock { state in
            switch crash {
            case .kill: state.model.begin(anew: found, isDurable: false)
            case .powerLoss:
                state.model.begin(anew: found, isDurable: true)
                state.medium = CacheFileSimulationMedium(image, count: 0)
            }
            // Until the next life begins.
            state.model.isFrozen = true
        }
    }

    private func stop() {
        store.state.withLock { $0.isDead = true }
        state.withLock { $0.cancel }?()
    }

    // MARK: Living

    private func live(_ executor: CacheFileSimulationExecutor) async throws {
        let simulation = simulation
        let form = simulation.form
        let medium = simulation.state.withLock { state in
            state.model.isFrozen = false
            return state.medium
        }
        let file = try CacheFileSimulation.open(
            CacheFileSimulationDisk(medium, executor, isDead: { [self] in isDead }), form)
        let storage = CacheFileSimulationStorage(
            file, executor, seed: state.withLock { $0.generator.next() }, simulation)
        let below: any BlockStore = form.hasZeroMap ? ZeroMap(over: store) : store
        let cache = try BlockCache(
            over: below, storage: storage, settings: form.settings, pool: testPool, timeline: timeline, logger: quietLogger)
        simulation.state.withLock { $0.model.noteRestored() }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await cache.run() }
            try await withThrowingTaskGroup(of: Void.self) { clients in
                for _ in 0..<4 {
                    let client = CacheFileSimulationClient(
                        self, cache, seed: state.withLock { $0.generator.next() }, isFaulty: isFaulty)
                    clients.addTask { try await client.run() }
                }
                try await clients.waitForAll()
            }
            if !isDead { try await drain(cache) }
            tasks.cancelAll()
        }
        if !isDead { try await file.close(keepsToken: true) }
    }

    private func drain(_ cache: BlockCache) async throws {
        let all = simulation.state.withLock { $0.model.floor(0..<$0.model.unitCount) }
        while !isDead {
            do throws(BlockStoreError) {
                try await cache.drain()
                break
            } catch {
                if !isFaulty, !isDead { throw simulation.violation("a drain fails: \(error)") }
            }
        }
        guard !isDead else { return }
        try judge(0..<simulation.form.blockCount, all, "after a drain")
        guard cache.unsavedCount == 0 else { throw simulation.violation("something is unsaved after a drain") }
    }

    /// Looks at what the store has.
    func judge(_ blocks: Range<Int>, _ floor: CacheFileSimulationModel.Floor, _ when: String) throws {
        let stamps = store.state.withLock { $0.bucket.objects[blocks].flatMap(\.stamps) }
        let fault = simulation.state.withLock { state in
            let fault = state.model.fault(in: stamps, floor)
            state.model.noteFlushed(floor)
            return fault
        }
        if let fault, !isDead { throw simulation.violation("in the store \(when): \(fault)") }
    }

    /// The life has ended in good order: the file has nothing that the store lacks. Somebody else may write to the volume now.
    private func end() throws {
        simulation.count("orderly end")
        let bucket = store.state.withLock { state in
            state.bucket.settle(nil, &state.generator)
            return state.bucket
        }
        simulation.state.withLock { $0.bucket = bucket }
        let image = simulation.image(after: .powerLoss(0))
        var found = try simulation.look(at: image, after: .powerLoss(0))
        let contents = try CacheFile.contents(simulation, image)
        guard contents.dirtyBlockCount == 0, contents.pendingZeroCount == 0 else {
            throw simulation.violation("after a good end the file holds unsaved data: \(contents)")
        }
        simulation.state.withLock { state in
            guard simulation.form.isShared else { return }
            for block in 0..<simulation.form.blockCount where state.generator.chance(0.4) {
                let isZero = state.generator.chance(0.2)
                let stamps = (0..<CacheFileSimulation.unitsPerBlock).map { _ in isZero ? 0 : state.generator.next() }
                _ = state.bucket.put(stamps, block)
                let first = block * CacheFileSimulation.unitsPerBlock
                found.replaceSubrange(first..<first + stamps.count, with: stamps)
            }
        }
        simulation.note("THE END: \(found)")
        simulation.state.withLock { state in
            state.model.begin(anew: found, isDurable: true)
            state.medium = CacheFileSimulationMedium(image, count: 0)
        }
    }
}

extension CacheFile {
    /// What is in a file that nobody uses.
    fileprivate static func contents(_ simulation: CacheFileSimulation, _ image: [UInt8]) throws -> CacheFileContents {
        try CacheFileSimulation.open(CacheFileSimulationMedium(image, count: 0), simulation.form).contents
    }
}
