// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
internal import CFuse
public import DataPath
internal import Glibc
public import Logging

/// One mount of a disk, from the mount to its end.
///
/// ```swift
/// let session = FUSESession(settings: settings, disk: disk, ...)
/// try session.mount()                       // errors of the user: options, mount point
/// let ending = try session.serve { ... }    // blocks; the closure runs once the mount answers
/// ```
///
/// - Concurrency: ``mount()`` and ``serve(onReady:)`` are called once each, one after the other; ``requestStop()`` from any
///   thread at any time.
public final class FUSESession: Sendable {
    /// How the service ended.
    public enum Ending: Equatable, Sendable {
        /// The mount was taken away, by umount(8) or after ``FUSESession/requestStop()``; every request has been answered.
        case unmounted
        /// A second ``FUSESession/requestStop()`` broke the connection. Requests that the disk had not answered five seconds
        /// later were left running; their callers have got an error.
        case aborted(requestsLeft: Int)
    }

    /// The libfuse session and what belongs to it.
    struct Mounted: @unchecked Sendable {
        // Proof for @unchecked: libfuse allows calls on a session from any thread; it is destroyed by serve() alone, after the
        // state machine has ended, behind which nobody uses it.

        /// libfuse's own handle.
        let session: OpaquePointer
        /// Kept here for libfuse, which knows only the address.
        let fileSystem: FileSystem
        /// Absolute, without symbolic links.
        let mountPoint: String
        /// Nil when the mount table could not be read.
        let deviceMinor: UInt32?
    }

    /// What the threads share.
    struct State: Sendable {
        /// How far the end has come.
        var machine = StopStateMachine()
        /// Nil before ``FUSESession/mount()``.
        var mounted: Mounted?
    }

    /// What the command line says.
    let settings: FUSESettings
    /// What the file shows.
    let disk: any Disk
    /// Where tasks go on after their first suspension.
    let executor: any TaskExecutor
    /// Where start, stop and failures are told.
    let logger: Logger
    /// What libfuse's threads, the watching thread and the callers share.
    let state = Monitor(State())
    private let statistics: any StatisticsText
    private let pool: BufferPool

    /// Makes a session; nothing happens yet.
    ///
    /// - Parameters:
    ///   - disk: What the file shows. It is flushed, never closed.
    ///   - executor: Where requests go on after their first suspension. Blocking file I/O is allowed there, so it needs threads
    ///     of its own.
    ///   - pool: Where write data is copied to.
    public init(
        settings: FUSESettings, disk: any Disk, statistics: any StatisticsText, executor: any TaskExecutor,
        pool: BufferPool, logger: Logger
    ) {
        self.settings = settings
        self.disk = disk
        self.statistics = statistics
        self.executor = executor
        self.pool = pool
        self.logger = logger
    }

    /// Mounts; starts no thread, so the process may still fork. The kernel holds back whoever uses the mount until
    /// ``serve(onReady:)`` runs.
    ///
    /// - Throws: `.badOption`; `.unavailable` without /dev/fuse, or when others may not be let in; `.badMountPoint`;
    ///   `.refused` by the kernel or fusermount3; `.stopped` when ``requestStop()`` was first. Then nothing is mounted.
    public func mount() throws(FUSEError) {
        try settings.validate()
        var options = try MountOptions(parsing: settings.options)
        if settings.isDebug { options.isDebug = true }
        let mountPoint = try MountPoint.check(settings.mountPoint)
        guard !state.withLock({ $0.machine.isStopRequested }) else {
            throw FUSEError(.stopped, "cannot mount on \"\(settings.mountPoint)\": asked to stop before")
        }
        FUSELog.direct(to: logger)
        let fileSystem = FileSystem(
            settings: settings, options: options, disk: disk, statistics: statistics, executor: executor, pool: pool,
            logger: logger, onLastClose: { [state] in state.withLock { $0.machine.lastClose(now: monotonicNow()) } })
        let session = try makeSession(of: fileSystem)
        let (status, complaints) = FUSELog.keepingComplaints { fuse_session_mount(session, mountPoint) }
        guard status == 0 else {
            fuse_session_destroy(session)
            let cause = complaints.isEmpty ? "fusermount3 refused it" : complaints.joined(separator: "; ")
            throw FUSEError(
                .refused, "cannot mount on \"\(settings.mountPoint)\": \(cause); check that this user may mount there")
        }
        let mounted = Mounted(
            session: session, fileSystem: fileSystem, mountPoint: mountPoint,
            deviceMinor: MountTable.entry(at: mountPoint)?.deviceMinor)
        state.withLock { $0.mounted = mounted }
    }

    private func makeSession(of fileSystem: FileSystem) throws(FUSEError) -> OpaquePointer {
        var arguments = fuse_args(argc: 0, argv: nil, allocated: 0)
        defer { fuse_opt_free_args(&arguments) }
        for argument in fileSystem.options.arguments(sourceName: settings.sourceName, isReadOnly: disk.isReadOnly) {
            // It fails for want of memory only, which ends the process, as in Swift's own allocations.
            guard fuse_opt_add_arg(&arguments, argument) == 0 else { fatalError("out of memory") }
        }
        var operations = FileSystem.operations()
        let data = Unmanaged.passUnretained(fileSystem).toOpaque()
        let (session, complaints) = FUSELog.keepingComplaints {
            fuse_session_new(&arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, data)
        }
        guard let session else {
            throw FUSEError(.badOption, "cannot use the mount options: \(complaints.joined(separator: "; ")); see fuse(8)")
        }
        return session
    }
}
