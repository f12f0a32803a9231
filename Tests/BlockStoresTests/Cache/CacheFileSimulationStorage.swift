// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Synchronization

@testable import BlockStores

/// The disk under a cache file: before and after each call the thread may be put aside, and a long write may be left half done.
final class CacheFileSimulationDisk: CacheFileDisk {
    private let medium: CacheFileSimulationMedium
    private let executor: CacheFileSimulationExecutor
    private let isDead: @Sendable () -> Bool

    init(_ medium: CacheFileSimulationMedium, _ executor: CacheFileSimulationExecutor, isDead: @escaping @Sendable () -> Bool) {
        self.medium = medium
        self.executor = executor
        self.isDead = isDead
    }

    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        executor.pause()
        try medium.read(into: target, at: offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        executor.pause()
        // Page by page, as the kernel copies them.
        let page = 4096
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + page - (Int(offset) + start) % page)
            if start > 0 { executor.pause() }
            // A dead process changes nothing; that it does not see an error either spares it the trouble.
            if !isDead() {
                try medium.write(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), at: offset + UInt64(start))
            }
            start = end
        }
        executor.pause()
    }

    func startWriting() { executor.pause() }

    func synchronize() throws(BlockStoreError) { settle() }

    func settle() {
        executor.pause()
        // What a dead process asks for must not make durable what another one wrote.
        if !isDead() { medium.synchronize { executor.pause() } }
        executor.pause()
    }

    func reserve(_ count: UInt64, at offset: UInt64) throws(BlockStoreError) { try medium.reserve(count, at: offset) }
}

/// A cache file whose calls can be interrupted anywhere but under one of its locks, and whose longer writes go in several pieces,
/// as those of larger blocks do.
final class CacheFileSimulationStorage: CacheStorage {
    let file: CacheFile
    private let executor: CacheFileSimulationExecutor
    private let generator: Mutex<SeededGenerator>
    private let simulation: CacheFileSimulation
    /// Whether somebody may have the lock of the zero log, which is held over I/O.
    private let isLogTaken = Mutex(false)

    init(
        _ file: CacheFile, _ executor: CacheFileSimulationExecutor, seed: UInt64, _ simulation: CacheFileSimulation
    ) {
        self.file = file
        self.executor = executor
        self.simulation = simulation
        generator = Mutex(SeededGenerator(seed: seed))
    }

    var slotCount: Int { file.slotCount }
    var isPersistent: Bool { true }
    var isTrusted: Bool { file.isTrusted }
    var mark: CacheMark { file.mark }

    func restore() throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet) {
        let restored = try withLog { () throws(BlockStoreError) in try file.restore() }
        for block in restored.blocks {
            simulation.note("restored \(block.block) in \(block.slot.rawValue): valid \(block.valid), dirty \(block.dirty)")
        }
        simulation.note("restored zeros \(restored.zeros.ranges)")
        return restored
    }

    func assign(_ slot: CacheSlot, to block: BlockNumber) throws(BlockStoreError) {
        executor.pause()
        simulation.count("assign")
        simulation.note("assign \(slot.rawValue) to \(block)")
        try withLog { () throws(BlockStoreError) in try file.assign(slot, to: block) }
        executor.pause()
    }

    func read(
        _ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, into target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) {
        executor.pause()
        try file.read(range, of: block, in: slot, into: target)
    }

    func write(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) async throws(BlockStoreError) {
        let size = file.layout.sectorSize
        let isCut = generator.withLock { $0.chance(0.5) }
        let step = isCut ? size : range.count
        for start in stride(from: range.lowerBound, to: range.upperBound, by: step) {
            for _ in 0..<generator.withLock({ $0.chance(0.7) ? 0 : 6 }) { await Task.yield() }
            let piece = start..<min(start + step, range.upperBound)
            let part = UnsafeRawBufferPointer(
                rebasing: bytes[piece.lowerBound - range.lowerBound..<piece.upperBound - range.lowerBound])
            try await file.write(part, at: piece, of: block, in: slot, origin)
            simulation.note(
                "wrote \(block) \(piece.lowerBound / size)..<\(piece.upperBound / size) in \(slot.rawValue) \(origin)")
        }
        for _ in 0..<generator.withLock({ $0.chance(0.7) ? 0 : 6 }) { await Task.yield() }
    }

    func writeNow(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> Bool {
        executor.pause()
        let isDone = try file.writeNow(bytes, at: range, of: block, in: slot, origin)
        simulation.note("wrote \(block) \(range) in \(slot.rawValue) now: \(isDone)")
        executor.pause()
        return isDone
    }

    func setVersion(
        _ version: BlockVersion, of block: BlockNumber, in slot: CacheSlot, upTo mark: CacheMark?
    ) throws(BlockStoreError) {
        executor.pause()
        simulation.note("set version \(version) of \(block) in \(slot.rawValue) up to \(mark.map { "\($0.rawValue)" } ?? "-")")
        try file.setVersion(version, of: block, in: slot, upTo: mark)
        executor.pause()
    }

    func version(of block: BlockNumber, in slot: CacheSlot) -> BlockVersion {
        executor.pause()
        return file.version(of: block, in: slot)
    }

    func release(_ slot: CacheSlot, of block: BlockNumber, wasDirty: Bool) throws(BlockStoreError) {
        executor.pause()
        simulation.count(wasDirty ? "release of dirty data" : "release")
        simulation.note("release \(slot.rawValue) of \(block), dirty \(wasDirty)")
        try withLog { () throws(BlockStoreError) in try file.release(slot, of: block, wasDirty: wasDirty) }
        executor.pause()
    }

    func recordZeros(_ blocks: BlockSet) throws(BlockStoreError) {
        executor.pause()
        try withLog { () throws(BlockStoreError) in try file.recordZeros(blocks) }
        simulation.note("recorded zeros \(blocks.ranges), mark \(file.state.withLock { $0.ledger.sequence })")
        executor.pause()
    }

    func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError) {
        executor.pause()
        simulation.note("forget zeros \(blocks.ranges) up to \(mark.rawValue)")
        try withLog { () throws(BlockStoreError) in try file.forgetZeros(blocks, upTo: mark) }
        executor.pause()
    }

    func commit() async throws(BlockStoreError) {
        executor.pause()
        simulation.note("commit")
        try await file.commit()
        simulation.note("committed")
        executor.pause()
    }

    func commitNow() throws(BlockStoreError) -> Bool {
        executor.pause()
        simulation.note("commit now")
        let isDone = try file.commitNow()
        simulation.note("committed now: \(isDone)")
        if isDone { simulation.count("commit at once") }
        executor.pause()
        return isDone
    }

    /// Calls what may take the lock of the zero log: one at a time, waiting where the turn can be given away.
    private func withLog<Result>(_ body: () throws(BlockStoreError) -> Result) throws(BlockStoreError) -> Result {
        executor.wait {
            isLogTaken.withLock { isTaken in
                defer { isTaken = true }
                return !isTaken
            }
        }
        let generation = file.header.withLock { $0.zeroArea.generation }
        defer {
            if file.header.withLock({ $0.zeroArea.generation }) != generation { simulation.count("zero log rewritten") }
            isLogTaken.withLock { $0 = false }
        }
        return try body()
    }
}
