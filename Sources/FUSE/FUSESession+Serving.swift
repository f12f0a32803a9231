// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import DataPath
internal import Glibc
internal import Logging

/// The service, and its end.
extension FUSESession {
    /// How long an aborted session waits for the requests that still run.
    private static let patienceAfterAbort = Duration.seconds(5)

    /// Serves the mount until it is taken away. Blocks the calling thread.
    ///
    /// On return nothing is mounted, and no request of the kernel waits any more: each has been answered, which can take as long
    /// as the disk needs (only ``requestStop()``, twice, ends that early). The disk is *not* flushed then, unless
    /// ``requestStop()`` led here; that is for the owner of the disk, whoever unmounted.
    ///
    /// - Parameter onReady: Called once, on a thread of its own, as soon as a request to the mount has been answered; never if
    ///   the session ends before.
    /// - Throws: `.outOfResources` when no thread can be started; `.connection` when the exchange with the kernel fails.
    public func serve(onReady: @escaping @Sendable () -> Void) throws(FUSEError) -> Ending {
        guard let mounted = state.withLock({ $0.mounted }) else { preconditionFailure("mount() comes before serve()") }
        let watch: JoinableThread
        do throws(JoinableThread.CannotStart) {
            watch = try JoinableThread(name: "fuse watch") { [self] in
                if Self.probe(mounted.mountPoint) { onReady() }
                watchOverEnd(of: mounted)
            }
        } catch {
            fuse_session_unmount(mounted.session)
            fuse_session_destroy(mounted.session)
            throw FUSEError(.outOfResources, "cannot start a thread: \(describe(errno: error.errno))")
        }
        let status = runLoop(mounted)
        state.withLock { $0.machine.ended() }
        watch.join()
        let isAborted = state.withLock { $0.machine.isAborted }
        let requestsLeft = mounted.fileSystem.waitForTasks(
            until: isAborted ? monotonicNow() + Self.patienceAfterAbort : nil)
        // Closes the connection; unmounts only where that has not been done.
        fuse_session_unmount(mounted.session)
        if isAborted { removeDeadMount(mounted) }
        // A request that still runs refers to the session: better a leak than a reply into freed memory.
        if requestsLeft == 0 { fuse_session_destroy(mounted.session) }
        guard status >= 0 || isAborted else {
            throw FUSEError(
                .connection,
                "cannot go on serving \"\(settings.mountPoint)\": \(describe(errno: -status)); see the log of the kernel")
        }
        return isAborted ? .aborted(requestsLeft: requestsLeft) : .unmounted
    }

    /// Ends the service in an orderly way, or, asked again, at once.
    ///
    /// The first call flushes the disk and then unmounts, never lazily: while a loop device or a process holds the mount, it is
    /// served as before, the log says who holds it, and the unmount follows the last close. The second call breaks the
    /// connection: callers in the mount get ECONNABORTED, what was not flushed stays with the disk, and ``serve(onReady:)``
    /// returns within seconds.
    ///
    /// - Concurrency: from any thread, but not from a signal handler; returns at once.
    public func requestStop() {
        let (answer, mounted) = state.withLock { ($0.machine.stopRequested(), $0.mounted) }
        switch answer {
        case .begin:
            logger.notice("stopping: flushing, then unmounting")
        case .abort:
            logger.warning("asked twice to stop: breaking the connection with the kernel")
            guard let mounted else { return }
            let isBroken = Unmounting.abortConnection(deviceMinor: mounted.deviceMinor, mountPoint: mounted.mountPoint)
            if !isBroken { logger.error("cannot break the connection with the kernel", metadata: ["cause": "no permission"]) }
        case .ignore:
            break
        }
    }

    /// Runs libfuse's threads until the connection ends.
    ///
    /// - Returns: Negative for an error number.
    private func runLoop(_ mounted: Mounted) -> Int32 {
        let count = mounted.fileSystem.options.threadCountMax ?? Self.threadCount
        // Given explicitly, libfuse has nothing to say about its defaults.
        let configuration = fuse_loop_cfg_create()
        defer { fuse_loop_cfg_destroy(configuration) }
        fuse_loop_cfg_set_clone_fd(configuration, 1)
        fuse_loop_cfg_set_max_threads(configuration, count)
        fuse_loop_cfg_set_idle_threads(configuration, count)
        return fuse_session_loop_mt(mounted.session, configuration)
    }

    /// Threads that take requests. More than processors, since a request may read a local file before its first suspension.
    private static var threadCount: UInt32 { UInt32(clamping: min(max(2 * sysconf(Int32(_SC_NPROCESSORS_ONLN)), 4), 16)) }

    /// Asks the mount for its figures, which waits until INIT and this request have been answered.
    private static func probe(_ mountPoint: String) -> Bool {
        var figures = statvfs()
        return statvfs(mountPoint, &figures) == 0
    }

    /// Does what the state machine says, until the session has ended; the body of a thread.
    private func watchOverEnd(of mounted: Mounted) {
        while true {
            let step = state.wait(lookingAgainAt: { $0.machine.deadline }) { $0.machine.nextStep(now: monotonicNow()) }
            switch step {
            case .flush: startFlush()
            case .unmount: tryToUnmount(mounted)
            case .finish: return
            }
        }
    }

    private func startFlush() {
        Task.immediateDetached(executorPreference: executor) { [self] in
            do throws(BlockStoreError) {
                try await disk.flush(nil)
            } catch {
                logger.error("cannot flush before unmounting", metadata: ["cause": "\(error.message)"])
            }
            state.withLock { $0.machine.flushed() }
        }
    }

    private func tryToUnmount(_ mounted: Mounted) {
        let outcome = Unmounting.unmount(mounted.mountPoint, deviceMinor: mounted.deviceMinor, isLazy: false)
        let isFirst = state.withLock { $0.machine.unmountTried(isBusy: outcome != .done, now: monotonicNow()) }
        guard isFirst else { return }
        let cause =
            switch outcome {
            case .failed(let cause): cause
            case .notOnTop: "another mount lies on top of it, or it was detached while in use"
            case .busy, .done: "it is in use"
            }
        logger.notice(
            "cannot unmount yet, so the disk is served on until it is closed; stop again to end at once",
            metadata: [
                "mountPoint": "\(settings.mountPoint)", "cause": "\(cause)",
                "heldBy": "\(MountHolders.descriptions(below: mounted.mountPoint).joined(separator: ", "))",
            ])
    }

    /// After an abort the mount is still in the tree, dead; nobody can use it, so nothing is lost by a lazy unmount.
    private func removeDeadMount(_ mounted: Mounted) {
        guard mounted.deviceMinor != nil else { return }
        let outcome = Unmounting.unmount(mounted.mountPoint, deviceMinor: mounted.deviceMinor, isLazy: true)
        if case .failed(let cause) = outcome {
            logger.error(
                "cannot remove the dead mount; run umount on it",
                metadata: ["mountPoint": "\(settings.mountPoint)", "cause": "\(cause)"])
        }
    }
}
