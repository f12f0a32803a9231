// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

/// One mount of a volume by the program under test, or by Debian's s3backer.
///
/// - Concurrency: for one thread.
final class Mount {
    /// The program under test: `S3BACKER_BINARY`, or the debug build of this package.
    static let binary =
        ProcessInfo.processInfo.environment["S3BACKER_BINARY"].map { URL(fileURLWithPath: $0).path }
        ?? "\(Gateway.packageDirectory)/.build/debug/s3backer"

    /// Debian's s3backer 1.5.4.
    static let debianBinary = "/usr/bin/s3backer"

    /// The mount point.
    let point: String
    /// The disk file.
    var file: String { "\(point)/file" }
    /// The statistics file.
    var statisticsFile: String { "\(point)/stats" }

    private let workspace: Workspace
    private let program: String
    private let arguments: [String]
    private let environment: [String: String]
    private var foreground: ChildProcess?

    /// Prepares a mount; nothing runs yet.
    ///
    /// - Parameter arguments: All but the mount point, which goes to the end.
    init(_ arguments: [String], in workspace: Workspace, name: String = "mount", program: String = Mount.binary) throws {
        self.workspace = workspace
        self.arguments = arguments
        self.program = program
        point = try workspace.directory(name)
        // No access file of the person who runs the tests is to be found.
        environment = ["HOME": workspace.path, "no_proxy": "127.0.0.1"]
    }

    /// Runs the program as a user would, and returns what its parent process did.
    func attempt(seconds: Int = 60) throws -> CommandResult {
        try Command.attempt(program, arguments + [point], seconds: seconds, environment: environment)
    }

    /// Mounts in the background.
    ///
    /// - Throws: `FixtureError` when the parent's status is not 0, or when it is 0 and no disk is served.
    @discardableResult
    func start(seconds: Int = 60) throws -> Mount {
        let result = try attempt(seconds: seconds)
        guard result.status == 0 else { throw FixtureError("cannot mount: \(result)") }
        // The old program's parent may exit before the mount is there; ours must not.
        let patience = program == Self.debianBinary ? 10.0 : 0
        guard eventually(within: patience, { isMounted }) else {
            throw FixtureError("status 0, but nothing is mounted: \(result)")
        }
        return self
    }

    /// Mounts with -f, so that the log can be read.
    ///
    /// - Throws: `FixtureError` when it is not served within this time.
    @discardableResult
    func startInForeground(seconds: Double = 60) throws -> Mount {
        let child = try launch()
        let isUp = eventually(within: seconds) { child.poll() != nil || isMounted }
        guard isUp, child.poll() == nil else { throw FixtureError("cannot mount with -f: \(child.log)") }
        try Command.run("stat", [file], seconds: 30)
        return self
    }

    /// Starts the program with -f, and does not wait until it serves.
    @discardableResult
    func launch() throws -> ChildProcess {
        let child = try ChildProcess(
            program, ["-f"] + arguments + [point], log: workspace.file("log-\(UUID().uuidString.prefix(8))"),
            environment: environment)
        foreground = child
        return child
    }

    /// The log of a mount with -f.
    var log: String { foreground?.log ?? "" }

    /// Whether the kernel lists the mount point.
    var isMounted: Bool { Sweep.mountPoints(below: point).contains(point) }

    /// The processes that serve this mount point.
    var processes: [pid_t] {
        let name = URL(fileURLWithPath: program).lastPathComponent
        return Sweep.processes(naming: point).filter { pid in
            let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            let first = String(decoding: line.prefix { $0 != 0 }, as: UTF8.self)
            return URL(fileURLWithPath: first).lastPathComponent == name
        }
    }

    /// Unmounts, and waits for the end of the daemon.
    ///
    /// - Throws: `FixtureError` when either takes too long.
    func unmount(seconds: Double = 60) throws {
        var last: CommandResult?
        // A loop device lets go of its file a moment after `losetup -d`.
        let isGone = try eventually(within: 20) {
            last = try Command.attempt("umount", [point], seconds: 30)
            return last?.status == 0
        }
        guard isGone else { throw FixtureError("cannot unmount: \(last.map(String.init(describing:)) ?? "")") }
        try waitForEnd(seconds: seconds)
    }

    /// Waits until no process serves this mount.
    @discardableResult
    func waitForEnd(seconds: Double = 60) throws -> Int32? {
        guard let foreground else {
            guard eventually(within: seconds, { processes.isEmpty }) else {
                throw FixtureError("the daemon of \(point) still runs after \(seconds) s")
            }
            return nil
        }
        return try foreground.wait(seconds: seconds)
    }

    /// Sends the daemon a signal.
    func signal(_ number: Int32) {
        for pid in processes { kill(pid, number) }
    }

    /// Kills the daemon, as a crash would, at once, and removes the dead mount if there is one already.
    func crash() throws {
        if let foreground {
            // Without a look at the table of processes first: the moment counts.
            foreground.signal(SIGKILL)
            _ = try foreground.wait(seconds: 10)
        }
        signal(SIGKILL)
        guard eventually(within: 10, { processes.isEmpty }) else { throw FixtureError("SIGKILL did not end the daemon") }
        if isMounted { try Command.run("umount", ["-l", point], seconds: 20) }
    }

    /// The size of the disk file in bytes.
    func size() throws -> Int {
        let text = try Command.run("stat", ["-c", "%s", file], seconds: 30).output
        return Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
    }

    /// The block size the file reports.
    func blockSize() throws -> Int {
        let text = try Command.run("stat", ["-c", "%o", file], seconds: 30).output
        return Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
    }

    /// The statistics, by name.
    func statistics() throws -> [String: String] {
        let text = try Command.run("cat", [statisticsFile], seconds: 30).output
        var values: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            if words.count >= 2 { values[words[0]] = words[1] }
        }
        return values
    }

    /// One counter of the statistics; 0 when it is not printed.
    func counter(_ name: String) throws -> Int { try statistics()[name].flatMap { Int($0) } ?? 0 }
}
