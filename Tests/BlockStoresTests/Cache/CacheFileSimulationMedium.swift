// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc
import StoreTesting
import Synchronization

@testable import BlockStores

/// A file in memory: what the kernel knows of it, what is durable, and the writes in between.
///
/// As ``CacheFileRecorder``, but what is durable is put together at once, so that an image of it costs little after any number of writes.
final class CacheFileSimulationMedium: CacheFileDisk {
    private struct State: Sendable {
        /// What the kernel knows.
        var bytes: [UInt8]
        /// What is on the disk for certain.
        var durable: [UInt8]
        /// What is on its way there, in order.
        var pending: [(offset: Int, bytes: [UInt8])] = []
        /// How many writes have become durable.
        var settledCount = 0
    }
    private let state: Mutex<State>

    /// A file of `count` bytes at least, which begins with `bytes`.
    init(_ bytes: [UInt8], count: UInt64) {
        let all = bytes + [UInt8](repeating: 0, count: max(0, Int(count) - bytes.count))
        state = Mutex(State(bytes: all, durable: all))
    }

    /// How many writes there were.
    var now: Int { state.withLock { $0.settledCount + $0.pending.count } }
    /// What the kernel knows.
    var bytes: [UInt8] { state.withLock { $0.bytes } }

    /// What the disk may hold after a power loss: what is durable; of the rest, each disk sector of each write with the given probability.
    func image(survival: Double, _ generator: inout SeededGenerator) -> [UInt8] {
        let (durable, pending) = state.withLock { ($0.durable, $0.pending) }
        var image = durable
        for write in pending {
            var start = 0
            while start < write.bytes.count {
                let end = min(write.bytes.count, (write.offset + start) / 512 * 512 + 512 - write.offset)
                if generator.chance(survival) { Self.apply(write.bytes, start..<end, at: write.offset, to: &image) }
                start = end
            }
        }
        return image
    }

    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        state.withLock { state in
            target.initializeMemory(as: UInt8.self, repeating: 0)
            let start = min(Int(offset), state.bytes.count)
            let end = min(start + target.count, state.bytes.count)
            state.bytes.withUnsafeBytes { target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        let bytes = Array(bytes)
        state.withLock { state in
            Self.apply(bytes, 0..<bytes.count, at: Int(offset), to: &state.bytes)
            state.pending.append((Int(offset), bytes))
        }
    }

    func startWriting() {}
    func synchronize() throws(BlockStoreError) { synchronize {} }
    func settle() throws(BlockStoreError) { synchronize {} }

    /// Makes durable what was written before; `pause` stands for the time that takes.
    func synchronize(_ pause: () -> Void) {
        let count = now
        pause()
        state.withLock { state in
            let writes = state.pending.prefix(max(0, count - state.settledCount))
            for write in writes { Self.apply(write.bytes, 0..<write.bytes.count, at: write.offset, to: &state.durable) }
            state.pending.removeFirst(writes.count)
            state.settledCount += writes.count
        }
    }

    func reserve(_ count: UInt64, at offset: UInt64) throws(BlockStoreError) {}

    private static func apply(_ bytes: [UInt8], _ part: Range<Int>, at offset: Int, to image: inout [UInt8]) {
        let end = offset + part.upperBound
        if image.count < end { image.append(contentsOf: repeatElement(0, count: end - image.count)) }
        image.withUnsafeMutableBytes { image in
            bytes.withUnsafeBytes { bytes in
                _ = memcpy(
                    image.baseAddress.unsafelyUnwrapped + offset + part.lowerBound,
                    bytes.baseAddress.unsafelyUnwrapped + part.lowerBound, part.count)
            }
        }
    }
}
