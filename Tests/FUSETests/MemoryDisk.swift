// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Dispatch
import FUSE
import Synchronization

/// A disk in memory that remembers which 4 KiB were ever written, counts flushes, and can be told to stall or to fail.
final class MemoryDisk: Disk {
    struct State {
        var bytes: [UInt8]
        var isWritten: [Bool]
        var flushCount = 0
        var flushesNow = false
        var promptFlushCount = 0
        var readFailure: BlockStoreError.Code?
        var isStalled = false
        /// Whether writes are taken at once.
        var takesWrites = false
        /// How many were.
        var takenCount = 0
        /// Whether bytes are lent, and how often they were.
        var lends = false
        var lentCount = 0
        var stalled: [CheckedContinuation<Void, Never>] = []
    }
    static let unit = 4096

    let sizeBytes: UInt64
    let preferredSizeBytes: Int
    let isReadOnly: Bool
    let state: Mutex<State>

    init(sizeBytes: Int, preferredSizeBytes: Int = 65536, isReadOnly: Bool = false) {
        self.sizeBytes = UInt64(sizeBytes)
        self.preferredSizeBytes = preferredSizeBytes
        self.isReadOnly = isReadOnly
        state = Mutex(
            State(
                bytes: [UInt8](repeating: 0, count: sizeBytes),
                isWritten: [Bool](repeating: false, count: (sizeBytes + Self.unit - 1) / Self.unit)))
    }

    var flushCount: Int { state.withLock { $0.flushCount } }
    /// How often it was flushed without a task.
    var promptFlushCount: Int { state.withLock { $0.promptFlushCount } }
    /// From now on it can be flushed without one.
    func flushNowFromNowOn() { state.withLock { $0.flushesNow = true } }
    var stalledCount: Int { state.withLock { $0.stalled.count } }

    func read(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError) -> DiskBytes {
        if state.withLock({ $0.isStalled }) { await stall() }
        if let code = state.withLock({ $0.readFailure }) { throw BlockStoreError(code, "told to fail") }
        return state.withLock { state in DiskBytes(Self.runs(range, in: state)) }
    }

    func readNow(_ range: Range<UInt64>) -> DiskBytes? {
        state.withLock { state in
            let isKnown =
                Self.units(of: range).allSatisfy { !state.isWritten[$0] } && !state.isStalled && state.readFailure == nil
            return isKnown ? DiskBytes(.zeros(count: range.count)) : nil
        }
    }

    func readNow(_ range: Range<UInt64>, lending reader: (RawSpan) -> Void) -> PromptRead<DiskBytes> {
        let isLent = state.withLock { state in
            guard state.lends else { return false }
            state.lentCount += 1
            reader(state.bytes.span.bytes.extracting(Int(range.lowerBound)..<Int(range.upperBound)))
            return true
        }
        if isLent { return .lent }
        return if let bytes = readNow(range) { .bytes(bytes) } else { .notNow }
    }

    func write(_ bytes: BufferSlice, at offset: UInt64, _ context: IOContext) async throws(BlockStoreError) {
        state.withLock { Self.store(bytes.unsafeBytes, at: offset, in: &$0) }
    }

    func writeNow(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        state.withLock { state in
            guard state.takesWrites else { return false }
            state.takenCount += 1
            Self.store(bytes, at: offset, in: &state)
            return true
        }
    }

    func zero(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError) {
        state.withLock { state in
            state.bytes.withUnsafeMutableBytes { bytes in
                let part = UnsafeMutableRawBufferPointer(rebasing: bytes[Int(range.lowerBound)..<Int(range.upperBound)])
                part.initializeMemory(as: UInt8.self, repeating: 0)
            }
            for unit in Self.units(of: range) {
                let whole = UInt64(unit * Self.unit)..<min(UInt64((unit + 1) * Self.unit), sizeBytes)
                if range.lowerBound <= whole.lowerBound, range.upperBound >= whole.upperBound { state.isWritten[unit] = false }
            }
        }
    }

    func flush(_ range: Range<UInt64>?) async throws(BlockStoreError) { state.withLock { $0.flushCount += 1 } }

    func flushNow() -> Bool {
        state.withLock { state in
            if state.flushesNow { state.promptFlushCount += 1 }
            return state.flushesNow
        }
    }

    func extents(in range: Range<UInt64>) async throws(BlockStoreError) -> [DiskExtent] {
        state.withLock { state in
            var extents: [DiskExtent] = []
            for unit in Self.units(of: range) {
                let kind: BlockExtent.Kind = state.isWritten[unit] ? .data : .zero
                let lower = max(UInt64(unit * Self.unit), range.lowerBound)
                let upper = min(UInt64((unit + 1) * Self.unit), range.upperBound)
                if let last = extents.last, last.kind == kind {
                    extents[extents.count - 1] = DiskExtent(range: last.range.lowerBound..<upper, kind: kind)
                } else {
                    extents.append(DiskExtent(range: lower..<upper, kind: kind))
                }
            }
            return extents
        }
    }

    /// Lets all stalled reads go on.
    func release() {
        let stalled = state.withLock { state in
            state.isStalled = false
            defer { state.stalled = [] }
            return state.stalled
        }
        for continuation in stalled { continuation.resume() }
    }

    private func stall() async {
        await withCheckedContinuation { continuation in
            let goesOn = state.withLock { state in
                if state.isStalled { state.stalled.append(continuation) }
                return !state.isStalled
            }
            if goesOn { continuation.resume() }
        }
    }

    private static func store(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, in state: inout State) {
        let range = Int(offset)..<Int(offset) + bytes.count
        state.bytes.withUnsafeMutableBytes { target in
            UnsafeMutableRawBufferPointer(rebasing: target[range]).copyMemory(from: bytes)
        }
        for unit in units(of: offset..<offset + UInt64(bytes.count)) { state.isWritten[unit] = true }
    }

    private static func units(of range: Range<UInt64>) -> Range<Int> {
        Int(range.lowerBound) / unit..<(Int(range.upperBound) + unit - 1) / unit
    }

    private static func runs(_ range: Range<UInt64>, in state: State) -> [DiskBytes.Run] {
        units(of: range).map { number in
            let lower = max(number * unit, Int(range.lowerBound))
            let upper = min((number + 1) * unit, Int(range.upperBound))
            guard state.isWritten[number] else { return .zeros(count: upper - lower) }
            let writer = BufferWriter(count: upper - lower)
            state.bytes.withUnsafeBytes { bytes in
                writer.unsafeMutableBytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[lower..<upper]))
            }
            return .bytes(BufferSlice(writer.freeze(count: upper - lower)))
        }
    }
}

/// Statistics that count how often they were asked for and reset.
final class CountingStatistics: StatisticsText {
    private let resets = Mutex(0)
    var resetCount: Int { resets.withLock { $0 } }
    func text() -> String { "resets                       \(resetCount)\n" }
    func reset() { resets.withLock { $0 += 1 } }
}

/// Runs jobs on threads of Dispatch.
final class QueueExecutor: TaskExecutor {
    private let queue = DispatchQueue(label: "io", attributes: .concurrent)
    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
