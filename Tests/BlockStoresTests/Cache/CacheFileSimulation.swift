// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc
import Logging
import StoreTesting
import Synchronization

@testable import BlockStores

/// A block cache over a cache file over a disk in memory, and a faulty store below, through several lives.
///
/// A life ends by a kill (the disk is as the kernel knows it), by a power loss (of what was not made durable, any disk sectors are
/// there), or in good order; the next one starts on what is left. Beside that, every now and then a crash is only imagined, and
/// what a start would find is looked at.
final class CacheFileSimulation: Sendable {
    /// The bytes that the model knows apart: half a sector, so that a write may touch a part of one.
    static let unit = 2048
    static let blockSize = 16384
    static let unitsPerBlock = blockSize / unit

    /// What a seed decides once and for all.
    struct Form: Sendable {
        let blockCount: Int
        let file: CacheFileWorld.Form
        let settings: CacheSettings
        let hasZeroMap: Bool
        /// Whether somebody else may write to the volume between two lives.
        let isShared: Bool
    }
    struct State: Sendable {
        var generator: SeededGenerator
        var model: CacheFileSimulationModel
        var bucket: CacheFileSimulationBucket
        var medium: CacheFileSimulationMedium
        /// The life under way.
        var life: CacheFileSimulationLife?
        var log: [String] = []
        var census: [String: Int] = [:]
    }

    let seed: UInt64
    let form: Form
    let isTraced: Bool
    let state: Mutex<State>

    init(seed: UInt64, isTraced: Bool = false) throws {
        self.seed = seed
        self.isTraced = isTraced
        var generator = SeededGenerator(seed: seed)
        form = Self.makeForm(seed, &generator)
        let recorder = CacheFileRecorder()
        let layout = CacheFileLayout(
            blockSize: Self.blockSize, slotCount: form.file.slotCount, spareCount: form.file.spareCount,
            zeroEventCount: form.file.zeroEventCount)
        _ = try CacheFile.format(recorder, layout, Self.options(form), token: 7)
        state = Mutex(
            State(
                generator: generator, model: CacheFileSimulationModel(unitCount: form.blockCount * Self.unitsPerBlock),
                bucket: CacheFileSimulationBucket(blockCount: form.blockCount, unitsPerBlock: Self.unitsPerBlock),
                medium: CacheFileSimulationMedium(recorder.bytes, count: layout.size)))
    }

    private static func makeForm(_ seed: UInt64, _ generator: inout SeededGenerator) -> Form {
        var file = CacheFileWorld.Form(isEncrypted: seed % 16 == 7)
        file.slotCount = Int.random(in: 3...6, using: &generator)
        file.spareCount = [6, 9, 24][Int(seed % 3)]
        file.zeroEventCount = [8, 16][Int(generator.next() % 2)]
        var settings = CacheSettings(slotCount: file.slotCount)
        settings.uploadsMax = Int.random(in: 1...4, using: &generator)
        settings.writeDelay = .milliseconds(Int.random(in: 0...300, using: &generator))
        settings.readAheadMax = Int.random(in: 0...3, using: &generator)
        settings.flushMode = generator.chance(0.6) ? .local : .remote
        settings.isSynchronous = seed % 23 == 0
        settings.verifiesRestored = seed % 5 != 0
        if seed % 7 == 0 { settings.dirtyMax = Int.random(in: 1...file.slotCount, using: &generator) }
        if seed % 4 == 0 { settings.keptFor = .milliseconds(50) }
        return Form(
            blockCount: Int.random(in: 6...10, using: &generator), file: file, settings: settings,
            hasZeroMap: seed % 2 == 0, isShared: settings.verifiesRestored && generator.chance(0.5))
    }

    static func options(_ form: Form) -> CacheFileOptions { CacheFileWorld.options(form.file) }

    /// How often what has happened.
    var census: [String: Int] { state.withLock { $0.census } }

    /// Lives three lives.
    func run() throws {
        for number in 0..<3 {
            note("life \(number): \(form)")
            let life = try CacheFileSimulationLife(self, isLast: number == 2)
            try life.run()
        }
    }

    // MARK: Notes

    func note(_ text: @autoclosure () -> String) {
        guard isTraced else { return }
        let text = text()
        state.withLock { $0.log.append("\($0.medium.now): \(text)") }
    }

    func count(_ what: String) { state.withLock { $0.census[what, default: 0] += 1 } }

    func violation(_ text: String) -> SimulationViolation { SimulationViolation(description: text) }

    /// The store is given `stamps` in place of `old`; nil when something else happened to the block.
    ///
    /// - Returns: What is wrong with that.
    func store(_ stamps: [UInt64]?, in block: Int, over old: [UInt64]) -> String? {
        state.withLock { state in
            let first = block * Self.unitsPerBlock
            guard let stamps else {
                state.model.forgetStored(first..<first + Self.unitsPerBlock)
                return nil
            }
            return state.model.store(stamps, from: first, over: old)
        }
    }

    // MARK: Stamps

    /// The bytes of units, each full of its stamp.
    static func bytes(_ stamps: some Collection<UInt64>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: stamps.count * unit) { buffer, count in
            count = stamps.count * unit
            let words = UnsafeMutableRawBufferPointer(buffer).bindMemory(to: UInt64.self)
            for (index, stamp) in stamps.enumerated() {
                UnsafeMutableBufferPointer(rebasing: words[index * unit / 8..<(index + 1) * unit / 8]).initialize(
                    repeating: stamp)
            }
        }
    }

    /// The stamps of bytes; nil when a unit is not full of one.
    static func stamps(_ bytes: [UInt8]) -> [UInt64]? {
        var stamps: [UInt64] = []
        for start in stride(from: 0, to: bytes.count, by: unit) {
            let stamp: UInt64? = bytes.withUnsafeBytes { bytes in
                let part = UnsafeRawBufferPointer(rebasing: bytes[start..<start + unit])
                let base = part.baseAddress.unsafelyUnwrapped
                return memcmp(base, base + 8, unit - 8) == 0 ? part.loadUnaligned(as: UInt64.self) : nil
            }
            guard let stamp else { return nil }
            stamps.append(stamp)
        }
        return stamps
    }
}
