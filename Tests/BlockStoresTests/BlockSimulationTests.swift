// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Logging
import StoreTesting
import Synchronization
import Testing

@Suite("The block layers together") struct BlockSimulationTests {
    @Test("overlapping and failing requests never give bytes that nobody wrote last", arguments: UInt64(0)..<60)
    func simulation(seed: UInt64) throws {
        try SimulationExecutor(seed: seed).run(on: ManualTimeline(), stepsMax: 1_000_000) {
            try await BlockSimulation(seed: seed).run()
        }
    }

    @Test("the model notices a lost write, and allows what overlaps or failed")
    func model() {
        var model = DiskModel(sizeBytes: 32, sectorSizeBytes: 16)
        let ones = [UInt8](repeating: 1, count: 16)
        let twos = [UInt8](repeating: 2, count: 16)
        let zeros = [UInt8](repeating: 0, count: 16)
        func read(_ bytes: [UInt8]) -> Bool {
            let ticket = model.beginRead(0..<16)
            return model.endRead(ticket, bytes) == nil
        }
        let first = model.beginWrite(ones, at: 0)
        #expect(read(zeros) && read(ones) && !read(twos))
        let spanning = model.beginRead(0..<16)
        model.endMutation(first, succeeded: true)
        #expect(read(ones) && !read(zeros))
        let spanned = model.endRead(spanning, zeros)
        #expect(spanned == nil)
        let failed = model.beginWrite(twos, at: 0)
        model.endMutation(failed, succeeded: false)
        #expect(read(ones) && read(twos) && !read(zeros) && model.valueCount(ofSector: 0) == 2)
        let last = model.beginZero(0..<32)
        model.endMutation(last, succeeded: true)
        #expect(read(zeros) && !read(ones) && !read(twos) && model.valueCount(ofSector: 0) == 1)
    }
}

/// Several clients on one disk over a store that delays and fails, watched by a model.
struct BlockSimulation: Sendable {
    private static let sector = 16
    private static let sizeBytes = 64 * 12
    private final class Watch: Sendable {
        let model = Mutex(DiskModel(sizeBytes: BlockSimulation.sizeBytes, sectorSizeBytes: BlockSimulation.sector))
    }
    private let seed: UInt64
    private let disk: BlockDisk
    private let watch = Watch()

    init(seed: UInt64) throws {
        self.seed = seed
        let logger = Logger(label: "test")
        let memory = MemoryBlockStore(geometry: try geometry(64, 12), answersNow: false, hook: nil)
        let faulty = FaultyBlockStore(over: memory, seed: seed, failureProbability: seed % 3 == 0 ? 0 : 0.1)
        let checked = CheckedStore(over: faulty, name: "faulty store", logger: logger)
        let map = CheckedStore(over: ZeroMap(over: checked), name: "zero map", logger: logger)
        disk = BlockDisk(over: ReadModifyWrite(over: map, pool: testPool), fanOutMax: 4, isReadOnly: false)
    }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in 0..<4 { group.addTask { try await act(as: client) } }
            try await group.waitForAll()
        }
        for _ in 0..<3 { try await read(0..<Self.sizeBytes) }
    }

    private func act(as client: Int) async throws {
        var generator = SeededGenerator(seed: seed &* 101 &+ UInt64(client))
        for step in 0..<60 {
            let lower = Int.random(in: 0..<Self.sizeBytes / Self.sector, using: &generator)
            let upper = min(Self.sizeBytes / Self.sector, lower + Int.random(in: 1...10, using: &generator))
            let range = lower * Self.sector..<upper * Self.sector
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: try await zero(range)
            case 1: try await write([UInt8](repeating: UInt8(1 + client * 60 + step), count: range.count), at: range.lowerBound)
            default: try await read(range)
            }
        }
    }

    private func write(_ bytes: [UInt8], at offset: Int) async throws {
        let ticket = watch.model.withLock { $0.beginWrite(bytes, at: offset) }
        var succeeded = true
        do throws(BlockStoreError) {
            try await disk.write(BufferSlice(Buffer(copying: bytes)), at: UInt64(offset), .foreground)
        } catch { succeeded = false }
        watch.model.withLock { $0.endMutation(ticket, succeeded: succeeded) }
    }

    private func zero(_ range: Range<Int>) async throws {
        let ticket = watch.model.withLock { $0.beginZero(range) }
        var succeeded = true
        do throws(BlockStoreError) {
            try await disk.zero(UInt64(range.lowerBound)..<UInt64(range.upperBound), .foreground)
        } catch { succeeded = false }
        watch.model.withLock { $0.endMutation(ticket, succeeded: succeeded) }
    }

    private func read(_ range: Range<Int>) async throws {
        let bytes = UInt64(range.lowerBound)..<UInt64(range.upperBound)
        let ticket = watch.model.withLock { $0.beginRead(range) }
        var found: [UInt8]?
        do throws(BlockStoreError) {
            if let now = disk.readNow(bytes) { found = now.bytes } else { found = try await disk.read(bytes, .foreground).bytes }
        } catch { found = nil }
        let wrong = watch.model.withLock { $0.endRead(ticket, found) }
        if let wrong { throw SimulationViolation(description: "seed \(seed): \(wrong)") }
    }
}

/// The disk answered what it may not.
struct SimulationViolation: Error, CustomStringConvertible {
    let description: String
}
