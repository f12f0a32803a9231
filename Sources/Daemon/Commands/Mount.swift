// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CLinux
internal import Cryptography
internal import DataPath
internal import FUSE
internal import Glibc
internal import Logging
internal import Synchronization
internal import Volumes

/// Serves a volume as a disk file, from the first look at the bucket to the return of the mount token.
///
///     check everything that can be checked here  ->  background  ->  open the volume  ->  mount  ->  serve  ->  shut down
struct Mount {
    private let settings: Settings
    private let fuse: FUSESettings

    /// Checks mount point and mount options; nothing is changed.
    ///
    /// - Parameter mountPoint: As the user wrote it.
    /// - Throws: The user's line.
    init(_ settings: Settings, at mountPoint: String) throws(UserError) {
        let files = settings.fileSystem
        var fuse = FUSESettings(
            mountPoint: mountPoint, sourceName: settings.volumeDescription, options: files.fuseOptions,
            fileName: files.fileName, statisticsFileName: files.statisticsFileName ?? "", fileMode: files.fileMode,
            userID: files.userID, groupID: files.groupID, isDirectIO: files.isDirectIO,
            isDebug: settings.process.isFUSEDebug)
        do {
            try fuse.validate()
            fuse.mountPoint = try fuse.resolveMountPoint()
        } catch {
            throw UserError(error.message)
        }
        self.settings = settings
        self.fuse = fuse
    }

    /// Mounts, serves and shuts down; in the background unless the user wants otherwise.
    ///
    /// - Parameter password: What encrypted blocks are read and written with; nil without encryption.
    /// - Returns: The exit status, when the mount has ended. In the background the parent process exits here.
    /// - Throws: Why nothing was, or could be, mounted.
    func run(password: SecretBytes?) throws(UserError) -> Int32 {
        let background = settings.process.isForeground ? nil : try Daemonise.fork()
        if background != nil { password?.lockAgain() }
        // For this thread and all it starts: memory reclaim must not wait for I/O that only this process can do. Refused
        // without CAP_SYS_RESOURCE, and then done without. See: 'man 2 PR_SET_IO_FLUSHER'.
        _ = linux_set_io_flusher(1)
        StopSignals.block()
        let process = ServingProcess(settings)
        StopSignals.start(process.stopping, logger: process.logger)
        process.logConfiguration(settings)
        let (stack, statistics) = try open(process, password)
        let session = FUSESession(
            settings: fuse, disk: stack.disk, statistics: statistics, executor: process.ioPool, pool: process.bufferPool,
            logger: process.logger)
        let companions = startCompanions(of: stack, statistics, process)
        let outcome = serve(session, process, background)
        for task in companions { task.cancel() }
        for task in companions { task.wait() }
        let isInOrder = shutDown(stack, process)
        if case .success(.unmounted) = outcome { process.ioPool.shutDown() }
        switch outcome {
        case .success(.unmounted): return isInOrder ? 0 : 1
        case .success(.aborted(let requestsLeft)): return isInOrder && requestsLeft == 0 ? 0 : 1
        case .failure(let error): throw UserError(error.message)
        }
    }

    private func open(_ process: ServingProcess, _ password: SecretBytes?) throws(UserError) -> (Stack, StackStatistics) {
        let store = try Store.open(
            settings, password: password, pool: process.bufferPool, timeline: process.timeline, logger: process.logger)
        let isTalkative = !settings.process.isQuiet
        if isTalkative, settings.geometry.isAutoDetected { Console.say("auto-detecting block size and total file size...") }
        let token = MountToken.random()
        let mayHoldToken = Atomic(false)
        let result = runBlocking(on: process.ioPool, stopping: process.stopping) { () async -> Result<Stack, VolumeError> in
            do throws(VolumeError) {
                return .success(
                    try await Stack.open(
                        over: store.objects, store.stackSettings, store.volumeOptions, token: token,
                        pool: process.bufferPool, timeline: process.timeline, jitter: { Double.random(in: 0..<1) },
                        logger: process.logger
                    ) { decision in
                        if isTalkative { Console.say(decision.notice) }
                        let reduction = store.stackSettings.consistency?.warning(decision.geometry)
                        for warning in decision.warnings + [reduction].compactMap(\.self) {
                            Console.say("warning: \(warning)")
                        }
                        store.limitObjects(toBlocksOf: decision.geometry.blockSize)
                        mayHoldToken.store(!store.volumeOptions.isReadOnly, ordering: .relaxed)
                    })
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .failure(let error):
            guard process.stopping.wasRequested else { throw UserError(error.message) }
            let isTidy = mayHoldToken.load(ordering: .relaxed) ? withdraw(token, from: store, process) : true
            let advice = isTidy ? "nothing is left behind" : "its mount token may be left behind: use --reset-mounted-flag"
            throw UserError("cannot mount \(settings.volumeName): a signal ended the start; \(advice)")
        case .success(let stack):
            process.stopping.renew()
            return (stack, StackStatistics(of: stack, client: store.client))
        }
    }

    /// Takes back what a start that was cancelled has perhaps written. Another signal ends this too.
    ///
    /// - Returns: Whether the token is certainly not there any more.
    private func withdraw(_ token: MountToken, from store: Store, _ process: ServingProcess) -> Bool {
        let hold = Stack.mountTokenHold(
            over: store.objects, store.stackSettings, store.volumeOptions, timeline: process.timeline,
            jitter: { Double.random(in: 0..<1) }, logger: process.logger)
        return runBlocking(on: process.ioPool, stopping: process.stopping) { () async -> Bool in
            do throws(VolumeError) {
                try await hold.withdraw(token)
                return true
            } catch {
                process.logger.info("cannot take the mount token back", metadata: ["cause": "\(error.message)"])
                return false
            }
        }
    }

    /// Starts what runs beside the service until its end: the volume's own watch, the survey, and the copy of the statistics.
    private func startCompanions(
        of stack: Stack, _ statistics: StackStatistics, _ process: ServingProcess
    ) -> [BlockingTask<Void>] {
        var tasks = [BlockingTask(on: process.ioPool) { await stack.volume.run() }]
        if let survey = stack.survey { tasks.append(BlockingTask(on: process.ioPool) { await survey.run() }) }
        if let copy = settings.fileSystem.statisticsMirror {
            let mirror = StatisticsMirror(at: copy.path, text: statistics.text, reset: statistics.reset)
            tasks.append(
                BlockingTask(on: process.ioPool) {
                    await mirror.run(every: copy.interval, timeline: process.timeline, logger: process.logger)
                })
        }
        return tasks
    }

    /// Mounts and serves until somebody unmounts or a signal asks for the end.
    private func serve(
        _ session: FUSESession, _ process: ServingProcess, _ background: Daemonise?
    ) -> Result<FUSESession.Ending, FUSEError> {
        process.stopping.connect { session.requestStop() }
        defer { process.stopping.disconnect() }
        do throws(FUSEError) {
            process.logger.info("mounting \(fuse.mountPoint)")
            try session.mount()
            let ending = try session.serve { [fuse] in
                // Before standard error goes away, so that no line is lost in between.
                if background != nil { process.log.switchToSyslog() }
                process.logger.info("s3backer process \(getpid()) for \(fuse.mountPoint) started")
                if let background, !background.reportReady() {
                    process.logger.error("whoever started the mount is gone; unmounting")
                    process.stopping.request()
                }
            }
            process.logger.info("unmounted \(fuse.mountPoint)")
            return .success(ending)
        } catch {
            return .failure(error)
        }
    }

    /// Makes everything durable and gives the mount token back.
    ///
    /// While blocks wait for their confirmation this is tried again and again: giving up would leave them in doubt. Without
    /// such blocks every acknowledged write is in the store, and only the token stays behind.
    ///
    /// - Returns: Whether the volume was left in order.
    private func shutDown(_ stack: Stack, _ process: ServingProcess) -> Bool {
        process.logger.info("shutting down filesystem")
        let unsettledCount = stack.volume.blocks.unsettledBlockCount
        if unsettledCount > 0 {
            process.logger.notice(
                "some requests got no answer: waiting until they cannot arrive any more; a signal ends the wait",
                metadata: ["blocks": "\(unsettledCount)"])
        }
        var pause = Duration.zero
        while true {
            let failure = runShutDown(stack, process, after: pause)
            guard let failure else { return true }
            // A store that refuses at once must not fill the log.
            pause = Self.shutDownPause
            let isHopeless = failure.code == .fenced || failure.code == .cancelled || stack.volume.blocks.unsettledBlockCount == 0
            guard !isHopeless else {
                process.logger.error("cannot leave the volume in order", metadata: ["cause": "\(failure.message)"])
                return false
            }
            process.logger.error(
                "cannot confirm the last writes yet; trying again until a signal ends this",
                metadata: ["cause": "\(failure.message)"])
        }
    }

    /// How long after a failed attempt the next one begins.
    private static let shutDownPause = Duration.seconds(10)

    private func runShutDown(_ stack: Stack, _ process: ServingProcess, after pause: Duration) -> BlockStoreError? {
        let timeline = process.timeline
        let task = BlockingTask(on: process.ioPool) { () async -> BlockStoreError? in
            do {
                if pause > .zero { try await timeline.sleep(until: timeline.now + pause) }
            } catch {
                return BlockStoreError(.cancelled, "a signal ended the wait", cause: error)
            }
            do throws(BlockStoreError) {
                try await stack.volume.shutDown(flushing: stack.disk)
                return nil
            } catch {
                return error
            }
        }
        process.stopping.connect { task.cancel() }
        defer { process.stopping.disconnect() }
        return task.wait()
    }
}

extension MountToken {
    /// Draws a new token from the system's randomness.
    static func random() -> MountToken {
        var generator = SystemRandomNumberGenerator()
        return MountToken(using: &generator)
    }
}
