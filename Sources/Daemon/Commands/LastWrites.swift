// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import Logging
internal import Synchronization
internal import Volumes

/// The end of a mount: everything written back, late attempts waited for, the mount token given back.
///
///     attempt:  drain the cache -> flush -> late attempts over and confirmed -> mount token given back
///
/// While blocks are not in the store, or wait for their confirmation, this is tried again and again: giving up would lose them
/// or leave them in doubt. ``WriteBackWatch`` says how long that goes on. Where a cache file keeps what is left, it ends with the
/// first failure, and the next mount goes on. Without such blocks every acknowledged write is in the store, and only the token
/// stays behind.
///
/// - Concurrency: ``finish()`` is called once, when nobody uses the disk any more, and blocks its thread.
/// - Source: Docs/Semantics.md "The end".
final class LastWrites: Sendable {
    /// How long after a failed attempt the next one begins: a store that refuses at once must not fill the log.
    private static let pause = Duration.seconds(10)
    /// How often it is looked how much is left.
    private static let lookInterval = Duration.seconds(1)

    private let stack: Stack
    private let cacheFile: CacheFileCustody?
    private let process: ServingProcess
    private let watch: Mutex<WriteBackWatch>

    /// The end of the mount of `stack`, whose cache keeps blocks in `cacheFile` if there is one.
    init(of stack: Stack, _ cacheFile: CacheFileCustody?, _ process: ServingProcess) {
        self.stack = stack
        self.cacheFile = cacheFile
        self.process = process
        watch = Mutex(
            WriteBackWatch(wasSignalled: process.stopping.wasRequested, now: process.timeline.now))
    }

    private var unsavedCount: Int { stack.cache?.unsavedCount ?? 0 }

    /// Makes everything durable and gives the mount token back.
    ///
    /// - Returns: Whether the volume was left in order.
    func finish() -> Bool {
        process.logger.info("shutting down filesystem")
        tellWaits()
        var pause = Duration.zero
        while true {
            guard let failure = attempt(after: pause) else { return true }
            guard isWorthRepeating(failure) else { return false }
            pause = Self.pause
        }
    }

    /// Says beforehand what will take time.
    private func tellWaits() {
        let unsaved = unsavedCount
        if unsaved > 0 { process.logger.notice("writing the last blocks to the store", metadata: ["blocks": "\(unsaved)"]) }
        let unsettled = stack.volume.blocks.unsettledBlockCount
        guard unsettled > 0 else { return }
        process.logger.notice(
            "some requests got no answer: waiting until they cannot arrive any more; a signal ends the wait",
            metadata: ["blocks": "\(unsettled)"])
    }

    // MARK: An attempt

    /// Makes one attempt; a signal may end it.
    ///
    /// - Returns: Why it failed; nil when the volume was left in order.
    private func attempt(after pause: Duration) -> BlockStoreError? {
        let task = BlockingTask(on: process.ioPool) { [self] in await watched(after: pause) }
        process.stopping.connect { [self] in
            let count = unsavedCount
            switch watch.withLock({ $0.signal(count: count, now: process.timeline.now) }) {
            case .wait: break
            case .tell:
                process.logger.warning(
                    "still writing the last blocks to the store; another signal ends this, and what is not in a cache file is lost",
                    metadata: ["blocks": "\(count)"])
            case .end: task.cancel()
            }
        }
        defer { process.stopping.disconnect() }
        return task.wait()
    }

    /// Runs the attempt beside a look at its progress, which may end it.
    private func watched(after pause: Duration) async -> BlockStoreError? {
        await withTaskGroup(of: Result<Void, BlockStoreError>?.self) { group in
            group.addTask { await self.leave(after: pause) }
            group.addTask {
                await self.lookOn()
                return nil
            }
            var failure: BlockStoreError?
            for await outcome in group {
                // Whoever ends first ends the other.
                group.cancelAll()
                if case .failure(let error)? = outcome { failure = error }
            }
            return failure
        }
    }

    private func leave(after pause: Duration) async -> Result<Void, BlockStoreError> {
        do {
            if pause > .zero { try await process.timeline.sleep(until: process.timeline.now + pause) }
        } catch {
            return .failure(BlockStoreError(.cancelled, "a signal ended the wait", cause: error))
        }
        do throws(BlockStoreError) {
            try await stack.cache?.drain()
            return .success(try await stack.volume.shutDown(flushing: stack.disk))
        } catch {
            return .failure(error)
        }
    }

    /// Says now and then how much is left; returns when there is no use in waiting on.
    private func lookOn() async {
        while true {
            do {
                try await process.timeline.sleep(until: process.timeline.now + Self.lookInterval)
            } catch {
                return
            }
            let count = unsavedCount
            let outlivesProcess = cacheFile?.isTrusted == true
            let action = watch.withLock { watch in
                watch.look(count: count, outlivesProcess: outlivesProcess, now: process.timeline.now)
            }
            switch action {
            case .wait: continue
            case .tell:
                process.logger.warning("still writing the last blocks to the store", metadata: ["blocks": "\(count)"])
            case .end: return
            }
        }
    }

    // MARK: A failure

    /// Whether another attempt makes sense; says what happens now.
    private func isWorthRepeating(_ failure: BlockStoreError) -> Bool {
        let isHopeless = failure.code == .fenced || failure.code == .cancelled
        let unsaved = unsavedCount
        guard unsaved == 0 else {
            if cacheFile?.isTrusted != true, !isHopeless {
                let fate = cacheFile == nil ? UnsavedFate.lost : .doubtful
                process.logger.error(
                    "\(fate.lineWhileTrying)", metadata: ["blocks": "\(unsaved)", "cause": "\(failure.message)"])
                return true
            }
            tellUnsaved(unsaved, failure)
            return false
        }
        guard !isHopeless, stack.volume.blocks.unsettledBlockCount > 0 else {
            process.logger.error("cannot leave the volume in order", metadata: ["cause": "\(failure.message)"])
            return false
        }
        process.logger.error(
            "cannot confirm the last writes yet; trying again until a signal ends this",
            metadata: ["cause": "\(failure.message)"])
        return true
    }

    /// Says what becomes of blocks that are not in the store at the end.
    private func tellUnsaved(_ count: Int, _ failure: BlockStoreError) {
        var metadata: Logger.Metadata = ["blocks": "\(count)", "cause": "\(failure.message)"]
        var fate = UnsavedFate.lost
        if let cacheFile {
            metadata["file"] = "\(cacheFile.path)"
            fate = isKept(by: cacheFile) ? .kept : .doubtful
        }
        process.logger.error("\(fate.lineAtEnd(isFenced: failure.code == .fenced))", metadata: metadata)
    }

    /// Makes what is left durable in the cache file.
    private func isKept(by cacheFile: CacheFileCustody) -> Bool {
        let failure = BlockingTask(on: process.ioPool) { () async -> BlockStoreError? in
            do throws(BlockStoreError) {
                try await cacheFile.commit()
                return nil
            } catch {
                return error
            }
        }.wait()
        guard let failure else { return true }
        process.logger.error(
            "cannot make the cache file durable", metadata: ["file": "\(cacheFile.path)", "cause": "\(failure.message)"])
        return false
    }
}
