// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc
import StoreTesting
import Synchronization

@testable import BlockStores

/// A file in memory that remembers in which order it was written and made durable, so that crashes can be played.
///
/// As with Linux, pages that could not be written are told once to each of the two open files that ask.
final class CacheFileRecorder: CacheFileDisk {
    /// What happened.
    enum Event: Sendable {
        case write(offset: Int, bytes: [UInt8])
        case syncBegan(Int)
        case syncEnded(Int)
    }
    struct State: Sendable {
        var bytes: [UInt8]
        var events: [Event] = []
        var syncCount = 0
        var writeCount = 0
        /// How often it was told that a commit will come soon.
        var startCount = 0
        var failsWrites = false
        /// Writes to these bytes fail half way.
        var badBytes = 0..<0
        /// Pages cannot be written.
        var failsSyncs = false
        /// How often that has happened.
        var errorCount = 0
        /// How often each of the two open files was told.
        var toldCounts = [0, 0]
        var room = UInt64.max
        /// The end of what was reserved.
        var reserved: UInt64 = 0
    }

    let state: Mutex<State>
    private let original: [UInt8]
    /// Called in the middle of a commit, when it has begun and has not ended.
    let duringSync = Mutex<(@Sendable () -> Void)?>(nil)

    init(_ bytes: [UInt8] = []) {
        original = bytes
        state = Mutex(State(bytes: bytes))
    }

    /// How much has happened.
    var now: Int { state.withLock { $0.events.count } }
    var bytes: [UInt8] { state.withLock { $0.bytes } }

    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        state.withLock { state in
            target.initializeMemory(as: UInt8.self, repeating: 0)
            let start = min(Int(offset), state.bytes.count)
            let end = min(start + target.count, state.bytes.count)
            state.bytes[start..<end].withUnsafeBytes { target.copyMemory(from: $0) }
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        let isDone = state.withLock { state in
            guard !state.failsWrites else { return false }
            let isBad = state.badBytes.overlaps(Int(offset)..<Int(offset) + bytes.count)
            let bytes = isBad ? bytes.part(0, bytes.count / 2) : bytes
            state.writeCount += 1
            state.events.append(.write(offset: Int(offset), bytes: Array(bytes)))
            Self.apply(bytes, at: Int(offset), to: &state.bytes)
            return !isBad
        }
        if !isDone { throw BlockStoreError(.io, "the recorder fails") }
    }

    func startWriting() { state.withLock { $0.startCount += 1 } }
    func synchronize() throws(BlockStoreError) { try synchronize(0, hook: duringSync.withLock { $0 }) }
    func settle() throws(BlockStoreError) { try synchronize(1, hook: nil) }

    private func synchronize(_ descriptor: Int, hook: (@Sendable () -> Void)?) throws(BlockStoreError) {
        let number: Int? = state.withLock { state in
            if state.failsSyncs { state.errorCount += 1 }
            guard state.toldCounts[descriptor] == state.errorCount else {
                state.toldCounts[descriptor] = state.errorCount
                return nil
            }
            state.syncCount += 1
            state.events.append(.syncBegan(state.syncCount))
            return state.syncCount
        }
        guard let number else { throw BlockStoreError(.io, "the recorder fails") }
        hook?()
        state.withLock { $0.events.append(.syncEnded(number)) }
    }

    func reserve(_ count: UInt64, at offset: UInt64) throws(BlockStoreError) {
        let hasRoom = state.withLock { state in
            guard offset + count <= state.room else { return false }
            state.reserved = max(state.reserved, offset + count)
            return true
        }
        if !hasRoom { throw BlockStoreError(.noSpace, "the recorder is full") }
    }

    /// What the disk may hold after a crash that loses, of all that is not durable, what was written to `lost`, and nothing else.
    func image(losing lost: [Range<UInt64>]) -> [UInt8] {
        let events = state.withLock { $0.events }
        let durable = Self.durableCount(of: events)
        var image = original
        for (index, event) in events.enumerated() {
            guard case .write(let offset, let bytes) = event else { continue }
            if index >= durable, lost.contains(where: { $0.contains(UInt64(offset)) }) { continue }
            bytes.withUnsafeBytes { Self.apply($0, at: offset, to: &image) }
        }
        return image
    }

    /// How many of the events came before the last fdatasync began that had ended.
    private static func durableCount(of events: [Event]) -> Int {
        var began: [Int: Int] = [:]
        var durable = 0
        for (index, event) in events.enumerated() {
            switch event {
            case .syncBegan(let number): began[number] = index
            case .syncEnded(let number): durable = max(durable, began[number] ?? 0)
            case .write: break
            }
        }
        return durable
    }

    /// What the disk may hold after a crash: all that was written before the last fdatasync began that had ended; of the rest, each disk
    /// sector with the given probability.
    ///
    /// - Parameter moment: How much had happened.
    func image(at moment: Int, survival: Double, _ generator: inout SeededGenerator) -> [UInt8] {
        let events = state.withLock { Array($0.events[..<moment]) }
        let durable = Self.durableCount(of: events)
        var image = original
        let size = events.reduce(image.count) { size, event in
            if case .write(let offset, let bytes) = event { max(size, offset + bytes.count) } else { size }
        }
        image.append(contentsOf: repeatElement(0, count: size - image.count))
        image.withUnsafeMutableBytes { image in
            for (index, event) in events.enumerated() {
                guard case .write(let offset, let bytes) = event else { continue }
                let isWhole = index < durable || survival >= 1
                bytes.withUnsafeBytes { bytes in
                    var start = 0
                    while start < bytes.count {
                        let end = isWhole ? bytes.count : min(bytes.count, (offset + start) / 512 * 512 + 512 - offset)
                        if isWhole || generator.next() % 1000 < UInt64(survival * 1000) {
                            memcpy(
                                image.baseAddress.unsafelyUnwrapped + offset + start, bytes.baseAddress.unsafelyUnwrapped + start,
                                end - start)
                        }
                        start = end
                    }
                }
            }
        }
        return image
    }

    private static func apply(_ bytes: UnsafeRawBufferPointer, at offset: Int, to image: inout [UInt8]) {
        let end = offset + bytes.count
        if image.count < end { image.append(contentsOf: repeatElement(0, count: end - image.count)) }
        image.withUnsafeMutableBytes { UnsafeMutableRawBufferPointer(rebasing: $0[offset..<end]).copyMemory(from: bytes) }
    }
}
