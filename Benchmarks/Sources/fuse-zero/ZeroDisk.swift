// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Dispatch
import FUSE
import Logging

/// A disk of zeros: what remains of a request is the FUSE library itself.
final class ZeroDisk: Disk {
    let sizeBytes: UInt64 = 1 << 30
    let preferredSizeBytes = 4096
    let isReadOnly = false
    private let answersNow: Bool

    init(answersNow: Bool) { self.answersNow = answersNow }

    func read(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError) -> DiskBytes {
        DiskBytes(.zeros(count: range.count))
    }

    func readNow(_ range: Range<UInt64>) -> DiskBytes? { answersNow ? DiskBytes(.zeros(count: range.count)) : nil }
    func write(_ bytes: BufferSlice, at offset: UInt64, _ context: IOContext) async throws(BlockStoreError) {}
    func writeNow(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool { answersNow }
    func zero(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError) {}
    func flush(_ range: Range<UInt64>?) async throws(BlockStoreError) {}

    func extents(in range: Range<UInt64>) async throws(BlockStoreError) -> [DiskExtent] {
        [DiskExtent(range: range, kind: .zero)]
    }
}

struct NoStatistics: StatisticsText {
    func text() -> String { "" }
    func reset() {}
}

final class QueueExecutor: TaskExecutor {
    private let queue = DispatchQueue(label: "io", attributes: .concurrent)
    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// Serves until the mount is taken away; the exit status.
nonisolated func serveZeros(on mountPoint: String, answersNow: Bool) -> Int32 {
    let settings = FUSESettings(
        mountPoint: mountPoint, sourceName: "zeros", options: [], fileName: "file", statisticsFileName: "stats",
        fileMode: 0o600, userID: 0, groupID: 0, isDirectIO: false, isDebug: false)
    let session = FUSESession(
        settings: settings, disk: ZeroDisk(answersNow: answersNow), statistics: NoStatistics(), executor: QueueExecutor(),
        pool: BufferPool(retainedBytesMax: 16 << 20), logger: Logger(label: "fuse-zero"))
    do {
        try session.mount()
        _ = try session.serve {}
        return 0
    } catch {
        print("fuse-zero: \(error)")
        return 1
    }
}
