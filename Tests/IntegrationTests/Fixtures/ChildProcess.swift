// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// A program that runs beside the test.
///
/// - Concurrency: for one thread.
final class ChildProcess {
    /// Its process id.
    let pid: pid_t
    /// The file that collects its standard output and standard error.
    let logPath: String
    private var status: Int32?

    /// Starts a program whose output goes to a file.
    ///
    /// - Throws: `FixtureError` when it cannot be started.
    init(_ program: String, _ arguments: [String], log: String, environment: [String: String] = [:]) throws {
        logPath = log
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        let output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer {
            close(null)
            close(output)
        }
        guard null >= 0, output >= 0 else { throw FixtureError("cannot open \(log)") }
        pid = try Self.spawn([program] + arguments, environment: environment, descriptors: [null, output, output])
    }

    deinit {
        guard status == nil, poll() == nil else { return }
        kill(pid, SIGKILL)
        _ = Self.wait(pid)
    }

    /// What it has written so far.
    var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }

    /// Sends it a signal.
    func signal(_ number: Int32) { kill(pid, number) }

    /// Its exit status if it has ended.
    func poll() -> Int32? {
        if let status { return status }
        var raw: Int32 = 0
        guard waitpid(pid, &raw, WNOHANG) == pid else { return nil }
        status = Self.exitStatus(raw)
        return status
    }

    /// Waits for its end.
    ///
    /// - Throws: `FixtureError` when it still runs after this time.
    func wait(seconds: Double) throws -> Int32 {
        guard eventually(within: seconds, { poll() != nil }), let status else {
            throw FixtureError("process \(pid) still runs after \(seconds) s; its log: \(log)")
        }
        return status
    }

    /// Starts a program found by PATH; it inherits the given descriptors as 0, 1 and 2 and no others.
    ///
    /// - Throws: `FixtureError` when it cannot be started.
    static func spawn(_ words: [String], environment: [String: String], descriptors: [Int32]) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, descriptor) in descriptors.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
        }
        keepDescriptorsToOurselves()
        var variables = ProcessInfo.processInfo.environment
        variables["SWIFT_BACKTRACE"] = "enable=no"
        variables["LC_ALL"] = "C.UTF-8"
        variables["PATH"] = (variables["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"
        variables.merge(environment) { _, new in new }

        var arguments = words.map { strdup($0) } + [nil]
        var settings = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            for word in arguments + settings { free(word) }
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Whoever runs the tests may ignore or block signals, and programs inherit that.
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, words[0], &actions, &attributes, &arguments, &settings)
        guard code == 0 else { throw FixtureError("cannot start \(words[0]): \(String(cString: strerror(code)))") }
        return pid
    }

    /// Marks every descriptor but the first three as one that no program inherits: libraries have opened some, too.
    private static func keepDescriptorsToOurselves() {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        for descriptor in names.compactMap({ Int32($0) }) where descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }

    /// Waits for the end of a child and returns its exit status, or 128 + the number of the signal that ended it.
    static func wait(_ pid: pid_t) -> Int32 {
        var raw: Int32 = 0
        while waitpid(pid, &raw, 0) < 0, errno == EINTR {}
        return exitStatus(raw)
    }

    private static func exitStatus(_ raw: Int32) -> Int32 {
        raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f)
    }
}
