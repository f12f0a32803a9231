// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import DataPath
internal import Glibc
internal import Logging
internal import Synchronization

/// The three inodes that a mount shows; the raw value is the inode number.
enum Node: UInt64, Sendable {
    /// The directory; FUSE fixes its number.
    case root = 1
    /// The file that is the disk.
    case file = 2
    /// The statistics file.
    case statistics = 3
}

/// What the mount shows, and how each request of the kernel is answered.
///
/// A read that ``Disk/readNow(_:)`` answers, or a write that ``Disk/writeNow(_:at:)`` takes, is replied to on libfuse's own
/// thread. Everything else that concerns bytes runs as a task that starts on that thread, and leaves it at its first suspension, so a slow store never holds a thread of libfuse.
///
/// No request is cut short when the kernel says that its process got a signal: a mutation would be left half done, and a read
/// would fail with EINTR in programs that no file ever did that to (a runtime that interrupts its own threads is enough). A
/// killed process therefore waits, as on a hard NFS mount, until the store answers or the layers below give up.
///
/// - Concurrency: called by all threads of libfuse at once.
/// - Source: Docs/Semantics.md; Docs/Architecture.md, "The data path".
final class FileSystem: Sendable {
    /// What the file shows.
    let disk: any Disk
    /// What the statistics file shows.
    let statistics: any StatisticsText
    /// What the command line says.
    let settings: FUSESettings
    /// What the user's `-o` options say, which win.
    let options: MountOptions
    /// Where tasks go on after their first suspension.
    let executor: any TaskExecutor
    /// Where write data is copied to.
    let pool: BufferPool
    /// Where failures are told.
    let logger: Logger
    /// What read requests of zeros are answered with.
    let zeros = ZeroPages(count: FileSystem.readSizeMax)
    /// The times of the disk file.
    let times = FileTimes(start: realTimeNow())
    /// What is open at present.
    let openFiles = Mutex(OpenFiles())
    /// How many tasks have a request to answer.
    let tasks = Monitor(0)
    private let failures = Mutex(FailureLog())
    /// Called after the last close of the disk file.
    private let lastCloseHandler: @Sendable () -> Void

    /// The most bytes that the kernel asks for at once: 256 pages.
    static let readSizeMax = 1 << 20

    /// Makes the file system of `disk`.
    ///
    /// - Parameter onLastClose: Called on a thread of libfuse, each time the disk file is no longer open; must not block.
    init(
        settings: FUSESettings, options: MountOptions, disk: any Disk, statistics: any StatisticsText,
        executor: any TaskExecutor, pool: BufferPool, logger: Logger, onLastClose: @escaping @Sendable () -> Void
    ) {
        self.settings = settings
        self.options = options
        self.disk = disk
        self.statistics = statistics
        self.executor = executor
        self.pool = pool
        self.logger = logger
        self.lastCloseHandler = onLastClose
    }

    /// Answers `request` with what `operation` returns or throws.
    ///
    /// - Concurrency: `operation` starts on the calling thread; after its first suspension it runs on the executor.
    func answer(
        _ request: consuming FUSERequest, with operation: @escaping @Sendable () async throws(BlockStoreError) -> FUSEReply
    ) {
        tasks.withLock { $0 += 1 }
        let handle = request.handOver()
        Task.immediateDetached(executorPreference: executor) { [self] in
            let request = FUSERequest(handle)
            let result: FUSEReply
            do throws(BlockStoreError) {
                result = try await operation()
            } catch {
                log(error)
                result = .failure(error.code.errno)
            }
            reply(to: request, with: result)
            tasks.withLock { $0 -= 1 }
        }
    }

    private func reply(to request: consuming FUSERequest, with reply: FUSEReply) {
        switch reply {
        case .success: request.reply(errno: 0)
        case .written(let count): request.reply(written: count)
        case .bytes(let bytes): self.reply(to: request, with: bytes)
        case .position(let position): request.reply(position: position)
        case .failure(let errno): request.reply(errno: errno)
        }
    }

    /// Tells the log of a failure that an application sees, at most once in ten seconds.
    private func log(_ error: BlockStoreError) {
        guard error.code != .cancelled, let suppressed = failures.withLock({ $0.record(at: monotonicNow()) }) else { return }
        logger.error(
            "a request of the kernel failed",
            metadata: [
                "code": "\(error.code.rawValue)", "cause": "\(error.message)", "failuresNotShown": "\(suppressed)",
            ])
    }

    /// The last close of the disk file has been seen.
    func lastClose() { lastCloseHandler() }

    /// Blocks the thread until no task has a request to answer any more, or until `deadline` on CLOCK_MONOTONIC.
    ///
    /// - Returns: How many are left.
    func waitForTasks(until deadline: Duration?) -> Int {
        tasks.wait(lookingAgainAt: { _ in deadline }) { count in
            if count == 0 { return 0 }
            guard let deadline, monotonicNow() >= deadline else { return nil }
            return count
        }
    }

    /// The inode with this number, if it exists.
    func node(_ number: fuse_ino_t) -> Node? {
        guard let node = Node(rawValue: UInt64(number)) else { return nil }
        return node == .statistics && settings.statisticsFileName.isEmpty ? nil : node
    }
}

/// Decides which failures are shown in the log.
struct FailureLog: Sendable {
    private var shown: Duration?
    private var suppressed = 0

    /// Counts a failure.
    ///
    /// - Returns: How many have been kept from the log since the last one that was shown; nil if this one is not to be shown.
    mutating func record(at now: Duration) -> Int? {
        if let shown, now - shown < .seconds(10) {
            suppressed += 1
            return nil
        }
        defer { suppressed = 0 }
        shown = now
        return suppressed
    }
}
