// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import CLinux
import DataPath
import Dispatch
import Glibc
import Logging
import Synchronization
import Testing

@testable import FUSE

/// Whether tests that mount may run, and whether they must.
enum Prerequisites {
    static let isAskedFor = variable("S3BACKER_INTEGRATION") == "1"
    static let areMet = geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0
    static let mustBeMet = isAskedFor && variable("CI") == "true"

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

/// A disk mounted on a directory of its own, for one test.
struct MountedDisk {
    let session: FUSESession
    let directory: String
    var file: String { directory + "/file" }
    var statistics: String { directory + "/stats" }

    /// Mounts `disk`, calls `body`, stops the session, and returns how it ended. Nothing stays behind, whatever happens: after
    /// `limit` seconds the connection is broken.
    @discardableResult
    static func with(
        _ disk: MemoryDisk, statistics: CountingStatistics = CountingStatistics(), options: [String] = [],
        isDirectIO: Bool = false, statisticsFileName: String = "stats", limit: Int = 60, log: LogLines = LogLines(),
        _ body: (MountedDisk) throws -> Void
    ) throws -> FUSESession.Ending {
        var template = Array("/tmp/s3backer-fuse-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer {
            umount2(directory, Int32(MNT_DETACH))
            rmdir(directory)
        }
        let settings = FUSESettings(
            mountPoint: directory, sourceName: "memory, a disk", options: options, fileName: "file",
            statisticsFileName: statisticsFileName, fileMode: 0o600, userID: 0, groupID: 0, isDirectIO: isDirectIO,
            isDebug: false)
        var logger = Logger(label: "test") { _ in log }
        logger.logLevel = .debug
        let session = FUSESession(
            settings: settings, disk: disk, statistics: statistics, executor: QueueExecutor(),
            pool: BufferPool(retainedBytesMax: 8 << 20), logger: logger)
        try session.mount()
        let isReady = DispatchSemaphore(value: 0)
        let hasEnded = DispatchSemaphore(value: 0)
        let ending = Mutex<Result<FUSESession.Ending, FUSEError>?>(nil)
        let thread = try JoinableThread(name: "serve") {
            let result = Result { () throws(FUSEError) in try session.serve { isReady.signal() } }
            ending.withLock { $0 = result }
            hasEnded.signal()
        }
        // Breaks a session that hangs, so that the test fails instead.
        let guardian = DispatchWorkItem {
            session.requestStop()
            session.requestStop()
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(limit), execute: guardian)
        #expect(isReady.wait(timeout: .now() + 10) == .success)
        let outcome = Result { try body(MountedDisk(session: session, directory: directory)) }
        session.requestStop()
        #expect(hasEnded.wait(timeout: .now() + .seconds(limit + 10)) == .success)
        guardian.cancel()
        thread.join()
        try outcome.get()
        return try #require(ending.withLock { $0 }).get()
    }

    /// Runs a program, at most a minute.
    @discardableResult
    static func run(_ arguments: String...) throws -> (status: Int32, output: String) { try run(arguments) }

    /// Runs a program that may find nothing to do any more.
    static func cleanUp(_ arguments: String...) {
        do { try run(arguments) } catch { Issue.record(error) }
    }

    @discardableResult
    static func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure(call: "pipe", errno: errno) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        posix_spawn_file_actions_addclose(&actions, ends[0])
        posix_spawn_file_actions_addclose(&actions, ends[1])
        var pointers: [UnsafeMutablePointer<CChar>?] = (["timeout", "-k", "1", "60"] + arguments).map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        var process = pid_t()
        let status = posix_spawnp(&process, "timeout", &actions, nil, pointers, environ)
        close(ends[1])
        guard status == 0 else { throw Failure(call: "posix_spawnp", errno: status) }
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while case let count = read(ends[0], &chunk, chunk.count), count > 0 { output += chunk[..<count] }
        close(ends[0])
        var exitStatus: Int32 = 0
        waitpid(process, &exitStatus, 0)
        return (exitStatus, String(decoding: output, as: UTF8.self))
    }

    /// Waits until something has come about that nobody sends word of; half a minute at most.
    static func wait(until condition: () -> Bool) {
        let deadline = monotonicNow() + .seconds(30)
        while !condition() {
            guard monotonicNow() < deadline else {
                Issue.record("waited in vain")
                return
            }
            usleep(1000)
        }
    }

    /// Opens `path`.
    static func open(_ path: String, _ flags: Int32) throws -> Int32 {
        let descriptor = Glibc.open(path, flags | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(call: "open", errno: errno) }
        return descriptor
    }

    struct Failure: Error, Equatable {
        let call: String
        let errno: Int32
    }
}

/// Keeps the lines of a log.
final class LogLines: LogHandler {
    private let lines = Mutex<[String]>([])
    var text: String { lines.withLock { $0.joined(separator: "\n") } }
    // Required by the protocol; every line is kept whole, at every level.
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .debug }
        set {}
    }
    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { nil }
        set {}
    }

    func log(event: LogEvent) {
        let metadata = event.metadata.map { "\($0)" } ?? ""
        lines.withLock { $0.append("\(event.level): \(event.message) \(metadata)") }
    }
}
