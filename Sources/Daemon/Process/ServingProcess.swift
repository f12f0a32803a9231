// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Glibc
internal import Logging

/// What a process has that does I/O: threads, memory, clocks, a log. Made after the fork, since threads do not survive one.
struct ServingProcess: Sendable {
    /// Idle memory that is kept for reuse, in bytes: 64 requests of 1 MiB.
    private static let retainedBytesMax = 64 << 20

    /// Where the log goes.
    let log: LogOutput
    /// Writes to the log.
    let logger: Logger
    /// Runs everything that had to wait.
    let ioPool: IOPool
    /// Lends memory for blocks.
    let bufferPool: BufferPool
    /// The machine's clocks.
    let timeline: any Timeline
    /// What a signal does.
    let stopping = StopSwitch()

    /// Starts the threads.
    init(_ settings: Settings) {
        log = LogOutput(isDebug: settings.process.isDebug)
        logger = log.logger(label: "s3backer")
        ioPool = IOPool(threadCount: Self.threadCount(settings))
        bufferPool = BufferPool(retainedBytesMax: Self.retainedBytesMax)
        timeline = SystemTimeline()
    }

    /// Logs what the user gave, at level debug and without secrets.
    func logConfiguration(_ settings: Settings) {
        logger.debug("s3backer config:")
        for option in settings.given {
            let margin = String(repeating: " ", count: max(0, 24 - option.name.utf8.count))
            logger.debug("\(margin)\(option.name): \(option.value)")
        }
    }

    /// As many threads as processors, at least 2: their work is hashing, copying and deciding, and a thread that is put off the
    /// processor with a lock in its hand holds up all others. Measured with 2 processors, 8 threads took twice the processor time of
    /// 2 for the same bytes, and gave half the speed. Where threads wait for a local disk (`--test`, a cache file) there are more.
    private static func threadCount(_ settings: Settings) -> Int {
        let processors = max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        if case .directory = settings.store { return min(max(2 * processors, 8), 32) }
        return min(settings.cache?.file == nil ? processors : processors + 2, 32)
    }
}
