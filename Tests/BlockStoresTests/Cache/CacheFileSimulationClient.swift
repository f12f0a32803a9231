// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Synchronization

@testable import BlockStores

/// Somebody who uses the disk of one life, and compares what he gets with the model.
struct CacheFileSimulationClient: Sendable {
    private let life: CacheFileSimulationLife
    private let cache: BlockCache
    private let disk: BlockDisk
    private let seed: UInt64
    /// Whether requests may fail, because those of the store do.
    private let isFaulty: Bool

    init(_ life: CacheFileSimulationLife, _ cache: BlockCache, seed: UInt64, isFaulty: Bool) {
        self.life = life
        self.cache = cache
        disk = BlockDisk(over: cache, fanOutMax: 4, isReadOnly: false)
        self.seed = seed
        self.isFaulty = isFaulty
    }

    private var simulation: CacheFileSimulation { life.simulation }
    private static let unit = CacheFileSimulation.unit

    func run() async throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<Int.random(in: 5...40, using: &generator) {
            guard !life.isDead else { return }
            let units = someUnits(&generator)
            switch Int.random(in: 0..<20, using: &generator) {
            case 0..<8: try await write(units, &generator)
            case 8..<11: try await zero(wholeBlocks(around: units, &generator))
            case 11: try await zero(units)
            case 12..<14: try await flush(generator.chance(0.5) ? nil : units)
            case 14: try await commit()
            default: try await read(units)
            }
        }
    }

    /// Mostly in the same few blocks, so that requests meet.
    private func someUnits(_ generator: inout SeededGenerator) -> Range<Int> {
        let count = simulation.form.blockCount * CacheFileSimulation.unitsPerBlock
        let hot = 2 * CacheFileSimulation.unitsPerBlock
        var lower = Int.random(in: 0..<(generator.chance(0.5) ? hot : count), using: &generator)
        var upper = min(count, lower + Int.random(in: 1...12, using: &generator))
        if generator.chance(0.85) {
            lower = lower / 2 * 2
            upper = min(count, (upper + 1) / 2 * 2)
        }
        return lower..<upper
    }

    private func wholeBlocks(around units: Range<Int>, _ generator: inout SeededGenerator) -> Range<Int> {
        let size = CacheFileSimulation.unitsPerBlock
        let first = units.lowerBound / size
        let last = min(simulation.form.blockCount, first + Int.random(in: 1...2, using: &generator))
        return first * size..<last * size
    }

    // MARK: Requests

    private func write(_ units: Range<Int>, _ generator: inout SeededGenerator) async throws {
        let stamps = units.map { _ in generator.next() | 1 }
        let buffer = Buffer(copying: CacheFileSimulation.bytes(stamps))
        let offset = UInt64(units.lowerBound * Self.unit)
        try await mutate("write", units, stamps) { () async throws(BlockStoreError) in
            if !disk.writeNow(buffer.unsafeBytes, at: offset) {
                try await disk.write(BufferSlice(buffer), at: offset, .foreground)
            }
        }
    }

    private func zero(_ units: Range<Int>) async throws {
        try await mutate("zero", units, Array(repeating: 0, count: units.count)) { () async throws(BlockStoreError) in
            try await disk.zero(bytes(units), .foreground)
        }
    }

    private func mutate(
        _ what: String, _ units: Range<Int>, _ stamps: [UInt64], _ body: () async throws(BlockStoreError) -> Void
    ) async throws {
        let number = simulation.state.withLock { $0.model.begin(units, stamps) }
        simulation.note("client: \(number) \(what) \(units) \(stamps)")
        var failure: BlockStoreError?
        do throws(BlockStoreError) { try await body() } catch { failure = error }
        simulation.state.withLock { $0.model.end(number, units, succeeded: failure == nil) }
        simulation.note("client: \(number) \(failure.map { "\($0)" } ?? "done")")
        try judge(failure, what)
    }

    private func flush(_ units: Range<Int>?) async throws {
        let size = CacheFileSimulation.unitsPerBlock
        let touched = units.map { $0.lowerBound / size..<($0.upperBound + size - 1) / size } ?? 0..<simulation.form.blockCount
        let floor = simulation.state.withLock { $0.model.floor(touched.lowerBound * size..<touched.upperBound * size) }
        simulation.note("client: flush \(touched)")
        do throws(BlockStoreError) {
            let isDone = units == nil && disk.flushNow()
            if !isDone { try await disk.flush(units.map(bytes)) }
        } catch {
            return try judge(error, "flush")
        }
        guard !life.isDead else { return }
        simulation.note("client: flushed \(touched)")
        simulation.count("flush")
        if simulation.form.settings.flushMode == .remote {
            try life.judge(touched, floor, "after a flush")
        } else {
            simulation.state.withLock { $0.model.noteFlushed(floor) }
        }
    }

    /// A commit that nobody asked for, as the cache makes one whenever it wants to.
    private func commit() async throws {
        do throws(BlockStoreError) { try await cache.commitStorage() } catch { try judge(error, "commit") }
    }

    private func read(_ units: Range<Int>) async throws {
        let floor = simulation.state.withLock { $0.model.floor(units) }
        let found: [UInt8]
        do throws(BlockStoreError) {
            if let now = disk.readNow(bytes(units)) {
                found = now.bytes
            } else {
                found = try await disk.read(bytes(units), .foreground).bytes
            }
        } catch {
            return try judge(error, "read")
        }
        guard !life.isDead else { return }
        guard let stamps = CacheFileSimulation.stamps(found) else {
            throw simulation.violation("a read gives a mix within a unit")
        }
        simulation.note("client: read \(units) \(stamps)")
        let fault = simulation.state.withLock { $0.model.fault(in: stamps, floor) }
        if let fault { throw simulation.violation("a read: \(fault)") }
    }

    /// Without faults nothing may fail.
    private func judge(_ failure: BlockStoreError?, _ what: String) throws {
        guard let failure, !isFaulty, !life.isDead else { return }
        throw simulation.violation("a \(what) fails: \(failure)")
    }

    private func bytes(_ units: Range<Int>) -> Range<UInt64> {
        UInt64(units.lowerBound * Self.unit)..<UInt64(units.upperBound * Self.unit)
    }
}
