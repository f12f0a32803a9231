// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import CLinux
import Foundation
import Synchronization

/// A disk file under several writers which stamp its sectors, fsync now and then, read what they wrote, and survive the daemon.
///
/// The model lives here, so it outlasts every mount. ``run(_:writers:seed:syncing:)`` and ``halt()`` enclose one life of a daemon.
///
/// - Concurrency: safe from any thread.
final class StampedDisk: Sendable {
    private struct State: Sendable {
        var model: StampModel
        var counts = StampCounts()
        var violations: [StampModel.Violation] = []
        var kinds: Set<StampModel.Violation.Kind> = []
        /// Calls that failed although the daemon was not being killed.
        var failures: [String] = []
        var isDying = false
        var shouldStop = false
        var threadCount = 0
        /// How many fsyncs are in the kernel.
        var syncsInFlight = 0
    }

    /// Makes and reads the sectors.
    let stamp: SectorStamp
    /// How many sectors there are.
    let sectorCount: Int
    private let state: Mutex<State>

    /// A fresh disk.
    init(sizeBytes: Int, seed: UInt64) {
        stamp = SectorStamp(seed: seed)
        sectorCount = sizeBytes / SectorStamp.size
        state = Mutex(State(model: StampModel(sectorCount: sectorCount)))
    }

    /// What happened so far.
    var counts: StampCounts { state.withLock { $0.counts } }
    /// What was found and must not be: at most as many as fit on a screen.
    var findings: [String] { state.withLock { $0.violations.map(\.description) + $0.failures } }
    /// The kinds of what was found and must not be.
    var kinds: Set<StampModel.Violation.Kind> { state.withLock { $0.kinds } }
    /// How many fsyncs wait for the daemon now.
    var syncsInFlight: Int { state.withLock { $0.syncsInFlight } }
    /// Whether the writers are to end.
    var shouldStop: Bool { state.withLock { $0.shouldStop } }

    /// Works with the model, as one step.
    func withModel<Result>(_ body: (inout StampModel) -> sending Result) -> sending Result {
        state.withLock { state in body(&state.model) }
    }

    /// Starts writers on a mounted disk file.
    ///
    /// - Parameter syncing: Whether they fsync now and then.
    func run(_ path: String, writers: Int, seed: UInt64, syncing: Bool) {
        state.withLock { state in
            state.isDying = false
            state.shouldStop = false
            state.threadCount = writers
        }
        for index in 0..<writers {
            Thread.detachNewThread {
                var writer = StampedWriter(disk: self, path: path, seed: seed &+ UInt64(index), syncing: syncing)
                writer.run()
                self.state.withLock { $0.threadCount -= 1 }
            }
        }
    }

    /// From now on calls may fail: the daemon is about to be killed.
    func willDie() { state.withLock { $0.isDying = true } }

    /// Waits for the end of the writers; when the daemon lives, each finishes what it does.
    ///
    /// - Throws: `FixtureError` when one hangs: nothing but a daemon that neither answers nor dies can cause that.
    func halt(seconds: Double = 60) throws {
        state.withLock { $0.shouldStop = true }
        guard eventually(within: seconds, { state.withLock { $0.threadCount == 0 } }) else {
            throw FixtureError("a writer still waits for the disk after \(seconds) s")
        }
        state.withLock { $0.model.releaseAll() }
    }

    /// Reads every sector after a crash, and goes on from what is found.
    ///
    /// - Throws: `FixtureError` when the disk cannot be read: an error in place of data is a violation, too.
    func verifyAfterCrash(_ path: String) throws {
        try scan(path) { state, contents, index in
            state.counts.sectorsChecked += 1
            return state.model.checkAfterCrash(contents, of: index)
        }
    }

    /// Reads every sector and expects the newest value in each.
    func verifyCurrent(_ path: String) throws {
        try scan(path) { state, contents, index in state.model.checkCurrent(contents, of: index) }
    }

    /// Takes note of the sectors whose fate the kill decides.
    func noteRisk() { state.withLock { $0.counts.sectorsAtRisk += $0.model.volatileCount } }

    /// Makes durable what was acknowledged, and demands it from then on.
    func sync(_ path: String) throws {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        let snapshot = withModel { $0.snapshot() }
        guard descriptor >= 0, fsync(descriptor) == 0 else {
            throw FixtureError("cannot fsync \(path): \(String(cString: strerror(errno)))")
        }
        withModel { $0.synced(snapshot) }
    }

    private func scan(
        _ path: String, _ check: (inout sending State, SectorStamp.Contents, Int) -> StampModel.Violation?
    ) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC)
        defer { close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        let perRead = buffer.count / SectorStamp.size
        // A screen full of violations is enough.
        for first in stride(from: 0, to: sectorCount, by: perRead) where findings.count < 40 {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(first * SectorStamp.size))
            guard count == buffer.count else {
                throw FixtureError("cannot read \(path) at sector \(first): \(count), \(String(cString: strerror(errno)))")
            }
            for index in 0..<perRead {
                let contents = stamp.identify(Self.sector(index, of: buffer), sector: first + index)
                let violation = state.withLock { state in check(&state, contents, first + index) }
                if let violation { report(violation) }
            }
        }
    }

    /// The bytes of the sector with this index in a buffer.
    static func sector(_ index: Int, of buffer: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[(index * SectorStamp.size)...].prefix(SectorStamp.size))
    }
}

/// What the writers tell.
extension StampedDisk {
    /// Keeps a violation for the report.
    func report(_ violation: StampModel.Violation) {
        state.withLock { state in
            state.kinds.insert(violation.kind)
            if state.violations.count < 40 { state.violations.append(violation) }
        }
    }

    /// A call has failed: an error unless the daemon is being killed.
    func failed(_ what: String) {
        state.withLock { state in
            guard !state.isDying else { return }
            if state.failures.count < 20 { state.failures.append(what) }
            state.shouldStop = true
        }
    }

    /// Counts one thing that was done.
    func count(_ add: (inout StampCounts) -> Void) { state.withLock { add(&$0.counts) } }

    /// An fsync goes to the kernel: what it covers.
    func syncBegins() -> StampModel.Snapshot {
        state.withLock { state in
            state.syncsInFlight += 1
            return state.model.snapshot()
        }
    }

    /// It has returned.
    func syncEnded(_ snapshot: StampModel.Snapshot, succeeded: Bool) {
        state.withLock { state in
            state.syncsInFlight -= 1
            guard succeeded else { return }
            state.model.synced(snapshot)
            state.counts.syncs += 1
        }
    }
}
