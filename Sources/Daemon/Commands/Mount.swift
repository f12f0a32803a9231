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
///                                                                    |                                    everything written back
///                                                                    +-- the cache writes back ---------------------->+
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
        let cacheFile = cacheFileCustody(process.logger)
        let (stack, statistics) = try open(process, password, cacheFile)
        // Before the first request, and until the last block is in the store.
        let writeBack = stack.cache.map { cache in BlockingTask(on: process.ioPool) { await cache.run() } }
        let session = FUSESession(
            settings: fuse, disk: stack.disk, statistics: statistics, executor: process.ioPool, pool: process.bufferPool,
            logger: process.logger)
        let companions = startCompanions(of: stack, statistics, process)
        let outcome = serve(session, process, background)
        for task in companions { task.cancel() }
        for task in companions { task.wait() }
        let isInOrder = LastWrites(of: stack, cacheFile, process).finish()
        writeBack?.cancel()
        writeBack?.wait()
        // A mount that only reads has given no token back: one that is recorded in the file belongs to a writer that ended badly.
        let hasGivenBack = isInOrder && !settings.fileSystem.isReadOnly
        BlockingTask(on: process.ioPool) { await cacheFile?.close(isInOrder: hasGivenBack) }.wait()
        if case .success(.unmounted) = outcome { process.ioPool.shutDown() }
        switch outcome {
        case .success(.unmounted): return isInOrder ? 0 : 1
        case .success(.aborted(let requestsLeft)): return isInOrder && requestsLeft == 0 ? 0 : 1
        case .failure(let error): throw UserError(error.message)
        }
    }

    /// The cache file, which is not opened yet; nil when the cache is in memory.
    private func cacheFileCustody(_ logger: Logger) -> CacheFileCustody? {
        guard let file = settings.cache?.file else { return nil }
        let place = CacheFilePlace(
            file, volume: settings.volumeIdentity, isForced: settings.geometry.isForced, logger: logger)
        return CacheFileCustody(of: place, file.recovery, volume: settings.volumeName, logger: logger)
    }

    private func open(
        _ process: ServingProcess, _ password: SecretBytes?, _ cacheFile: CacheFileCustody?
    ) throws(UserError) -> (Stack, StackStatistics) {
        let store = try Store.open(
            settings, password: password, process)
        let isTalkative = !settings.process.isQuiet
        if isTalkative, settings.geometry.isAutoDetected { Console.say("auto-detecting block size and total file size...") }
        let token = MountToken.random()
        let mayHoldToken = Atomic(false)
        let result = runBlocking(on: process.ioPool, stopping: process.stopping) { () async -> Result<Stack, VolumeError> in
            do throws(VolumeError) {
                return .success(
                    try await Stack.open(
                        over: store.objects, store.stackSettings, store.volumeOptions, token: token, cacheFile: cacheFile,
                        keyParameters: .forVolumes, pool: process.bufferPool, timeline: process.timeline,
                        jitter: { Double.random(in: 0..<1) }, logger: process.logger
                    ) { decision in
                        if isTalkative { Console.say(decision.notice) }
                        let reduction = store.stackSettings.consistency?.warning(decision.geometry)
                        let cacheWarnings = store.stackSettings.cache?.warnings(for: decision.geometry) ?? []
                        for warning in decision.warnings + [reduction].compactMap(\.self) + cacheWarnings {
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
            let unsaved = cacheFile?.unsavedBlockCount ?? 0
            // What an earlier run has left is tied to the token, and to be found by the next start.
            let isTidy = unsaved == 0 && mayHoldToken.load(ordering: .relaxed) ? withdraw(token, from: store, process) : true
            var advice = isTidy ? "nothing is left behind" : "its mount token may be left behind: use --reset-mounted-flag"
            if unsaved > 0 { advice = "the next start goes on where this one was, with the \(unsaved) blocks of its cache file" }
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
}

extension MountToken {
    /// Draws a new token from the system's randomness.
    static func random() -> MountToken {
        var generator = SystemRandomNumberGenerator()
        return MountToken(using: &generator)
    }
}
