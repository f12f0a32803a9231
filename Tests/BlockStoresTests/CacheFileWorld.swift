// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Glibc
import Logging
import StoreTesting
import Synchronization

@testable import BlockStores

/// A small cache over a cache file, with a store and a model of what may be read after a crash at any moment.
///
/// It keeps the rules of ``CacheStorage``: it commits before the store sees anything; after the release of a slot with unsaved
/// data, before that is used again; and after an upload, before the slot is given to another block without a release.
final class CacheFileWorld: @unchecked Sendable {
    // Proof for @unchecked: one task drives it; the hook within a commit runs on that task's thread.
    struct Violation: Error, CustomStringConvertible { let description: String }
    struct Key: Hashable { let block: Int, sector: Int }
    /// A value that a sector was given, and when that began, in events of the recorder.
    struct Value { let stamp: UInt64, began: Int }
    struct Held {
        var slot: Int
        var valid: Set<Int> = []
        var dirty: Set<Int> = []
        /// Whether it was brought to the store, and nothing was committed since: then its slot is not taken for another block.
        var isUnsettled = false
    }
    struct Saved: Equatable {
        var stamps: [UInt64]
        var version: BlockVersion
    }
    struct Form {
        var isEncrypted: Bool
        var slotCount = 4
        var spareCount = 6
        var zeroEventCount = 16
    }

    static let blockCount = 7
    static let sectorCount = 4
    static let sectorSize = 4096
    static let identity = "test"

    let form: Form
    var generator: SeededGenerator
    var recorder: CacheFileRecorder
    var file: CacheFile
    var held: [Int: Held] = [:]
    var pendingZeros: Set<Int> = []
    /// Slots that held unsaved data, until a commit.
    var unsafeSlots: Set<Int> = []
    var store: [[(moment: Int, saved: Saved)]]
    var history: [Key: [Value]] = [:]
    /// When a commit had returned, and how many values of each sector it covers.
    var commits: [(moment: Int, counts: [Key: Int])] = []
    var nextStamp: UInt64 = 1
    var log: [String] = []
    var hotBlock = 0
    /// A block with a write that has not returned.
    var writingBlock: Int?
    /// Crashes before this moment are not played.
    var firstMoment = 0
    private static let key = SecretBytes((0..<32).map { UInt8($0) })

    init(seed: UInt64, form: Form) throws {
        self.form = form
        generator = SeededGenerator(seed: seed)
        recorder = CacheFileRecorder()
        store = (0..<Self.blockCount).map { _ in [(0, Saved(stamps: [0, 0, 0, 0], version: .zero))] }
        let layout = CacheFileLayout(
            blockSize: Self.sectorCount * Self.sectorSize, slotCount: form.slotCount, spareCount: form.spareCount,
            zeroEventCount: form.zeroEventCount)
        _ = try CacheFile.format(recorder, layout, Self.options(form), token: 0)
        file = try Self.open(recorder, form)
        for key in keys { history[key] = [Value(stamp: 0, began: 0)] }
        try recorder.synchronize()
        firstMoment = recorder.now
        noteCommit(history.mapValues(\.count))
        watchCommits()
    }

    static func options(_ form: Form) -> CacheFileOptions {
        CacheFileOptions(
            identity: identity, blockSize: sectorCount * sectorSize, slotCount: form.slotCount,
            key: form.isEncrypted ? key : nil)
    }

    static func open(_ recorder: CacheFileRecorder, _ form: Form) throws -> CacheFile {
        guard let header = try CacheFileHeader.read(from: recorder) else { throw Violation(description: "no good header") }
        let seal = try CacheFile.makeSeal(header, options(form), "file")
        let scan = try CacheFileScan(of: header, on: recorder, seal: seal)
        guard scan.damageCount == 0 else { throw Violation(description: "damaged descriptors") }
        return CacheFile(disk: recorder, header: header, seal: seal, scan: scan, logger: quietLogger)
    }

    var keys: [Key] { (0..<Self.blockCount).flatMap { block in (0..<Self.sectorCount).map { Key(block: block, sector: $0) } } }

    // MARK: What is true

    func current(_ key: Key) -> UInt64 { history[key]?.last?.stamp ?? 0 }
    func saved(_ block: Int) -> Saved { store[block][store[block].count - 1].saved }

    func noteCommit(_ counts: [Key: Int]) {
        commits.append((recorder.now, counts))
        unsafeSlots = []
        for block in held.keys { held[block]?.isUnsettled = false }
    }

    func put(_ block: Int, _ stamps: [UInt64]) {
        nextStamp += 1
        let version: BlockVersion = stamps.allSatisfy { $0 == 0 } ? .zero : .tag("\"\(nextStamp)\"")
        store[block].append((recorder.now, Saved(stamps: stamps, version: version)))
    }

    static func bytes(_ stamps: some Sequence<UInt64>) -> [UInt8] {
        stamps.flatMap { stamp in
            [UInt8](unsafeUninitializedCapacity: sectorSize) { buffer, count in
                count = sectorSize
                for index in stride(from: 0, to: sectorSize, by: 8) {
                    UnsafeMutableRawBufferPointer(buffer).storeBytes(of: stamp, toByteOffset: index, as: UInt64.self)
                }
            }
        }
    }

    /// The stamp of a sector in the file; nil when its check fails.
    func stamp(in file: CacheFile, _ key: Key, _ slot: Int) throws -> UInt64? {
        var bytes = [UInt8](repeating: 0xee, count: Self.sectorSize)
        let start = key.sector * Self.sectorSize
        do {
            try bytes.withUnsafeMutableBytes { bytes in
                try file.read(
                    start..<start + Self.sectorSize, of: BlockNumber(key.block), in: CacheSlot(rawValue: UInt32(slot)),
                    into: bytes)
            }
        } catch let error as BlockStoreError where error.code == .corrupt {
            return nil
        }
        return try bytes.withUnsafeBytes { bytes in
            let isWhole =
                memcmp(bytes.baseAddress.unsafelyUnwrapped, bytes.baseAddress.unsafelyUnwrapped + 8, Self.sectorSize - 8) == 0
            guard isWhole else { throw Violation(description: "\(key): a mix within a sector") }
            return bytes.load(as: UInt64.self)
        }
    }

    // MARK: Crashes

    /// What a start after a crash at `moment` finds.
    struct Recovered {
        var recorder: CacheFileRecorder
        var file: CacheFile
        var held: [Int: Held] = [:]
        var zeros: Set<Int> = []
        var values: [Key: UInt64] = [:]
        var store: [Saved] = []
    }

    /// Plays a crash and checks what is there afterwards.
    func crash(at moment: Int, survival: Double) throws -> Recovered {
        try look(CacheFileRecorder(recorder.image(at: moment, survival: survival, &generator)), moment)
    }

    /// Starts on a disk and checks what is there.
    func look(_ disk: CacheFileRecorder, _ moment: Int) throws -> Recovered {
        let file = try Self.open(disk, form)
        let (blocks, zeros) = try file.restore()
        var recovered = Recovered(recorder: disk, file: file)
        recovered.zeros = Set(zeros.blocks.map { Int($0.rawValue) })
        recovered.store = store.map { puts in puts.last { $0.moment <= moment }?.saved ?? puts[0].saved }
        for key in keys {
            recovered.values[key] = recovered.zeros.contains(key.block) ? 0 : recovered.store[key.block].stamps[key.sector]
        }
        for found in blocks { try take(found, &recovered) }
        let floor = commits.last { $0.moment <= moment }?.counts ?? [:]
        for key in keys {
            let values = history[key] ?? []
            let allowed = values.enumerated().filter { $0.offset >= (floor[key] ?? 1) - 1 && $0.element.began <= moment }
            let value = recovered.values[key] ?? 0
            guard !allowed.contains(where: { $0.element.stamp == value }) else { continue }
            throw Violation(
                description: "\(key) at \(moment): \(value), allowed \(allowed.map(\.element.stamp)), of \(values.map(\.stamp)),"
                    + " store \(recovered.store[key.block]), zeros \(recovered.zeros), held \(String(describing: recovered.held[key.block]))"
            )
        }
        return recovered
    }

    private func take(_ found: RestoredBlock, _ recovered: inout Recovered) throws {
        let block = Int(found.block.rawValue)
        guard recovered.held[block] == nil else { throw Violation(description: "block \(block) is there twice") }
        var held = Held(slot: Int(found.slot.rawValue))
        let saved = recovered.store[block]
        let isCurrent = recovered.file.version(of: found.block, in: found.slot) == saved.version && saved.version != .unknown
        guard found.isZeroElsewhere == recovered.zeros.contains(block) else {
            throw Violation(description: "block \(block): zeros elsewhere, or not?")
        }
        for sector in 0..<Self.sectorCount where found.valid[0] >> UInt64(sector) & 1 == 1 {
            let key = Key(block: block, sector: sector)
            let isDirty = found.dirty[0] >> UInt64(sector) & 1 == 1
            guard let stamp = try stamp(in: recovered.file, key, held.slot) else {
                if isDirty { throw Violation(description: "\(key): dirty, and its check fails") }
                continue
            }
            if isDirty {
                recovered.values[key] = stamp
                held.dirty.insert(sector)
            } else if isCurrent {
                if recovered.zeros.contains(block) { throw Violation(description: "\(key): clean, though zeroed") }
                guard stamp == saved.stamps[sector] else {
                    throw Violation(description: "\(key): \(stamp) counts as clean, the store has \(saved.stamps[sector])")
                }
            }
            if isDirty || isCurrent { held.valid.insert(sector) }
        }
        recovered.held[block] = held
    }

    /// Goes on from what a crash left.
    func resume(_ recovered: Recovered) throws {
        recorder = recovered.recorder
        file = recovered.file
        held = recovered.held
        pendingZeros = recovered.zeros
        unsafeSlots = []
        store = recovered.store.map { [(0, $0)] }
        history = recovered.values.mapValues { [Value(stamp: $0, began: 0)] }
        commits = []
        noteCommit(history.mapValues(\.count))
        log.append("a crash leaves zeros \(recovered.zeros), \(recovered.held), the store has \(recovered.store.map(\.stamps))")
        firstMoment = 0
        // A block without good sectors gives its slot back, as a cache would do.
        for (block, entry) in held.sorted(by: { $0.key < $1.key }) where entry.valid.isEmpty { try release(block) }
        watchCommits()
    }
}
