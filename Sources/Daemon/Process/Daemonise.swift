// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc
internal import Synchronization

/// Going into the background, so that the parent knows how it went.
///
///     parent                          child
///     fork ------------------------>  starts: detects sizes, takes the token, mounts; complains on standard error
///     waits on the pipe  <----------  one byte, when the kernel has accepted the mount
///     exits 0                         has left the terminal, serves
///     (or, at end of file, exits
///      with the child's status) <---  exits 1 before that
///
/// libfuse's own fuse_daemonize(3) lets the parent exit 0 before anything has been tried.
final class Daemonise: Sendable {
    private let statusPipe: Mutex<Int32?>

    private init(statusPipe: Int32) { self.statusPipe = Mutex(statusPipe) }

    /// Forks. Returns in the child only; the parent waits, and ends with the status of the start.
    ///
    /// To be called before there is any thread, task or dispatch queue: none of them would survive in the child.
    ///
    /// - Throws: When there can be no pipe or no process.
    static func fork() throws(UserError) -> Daemonise {
        var ends: [Int32] = [-1, -1]
        // See: 'man 2 pipe'; the descriptors are not for programs that libfuse starts.
        guard pipe(&ends) == 0 else { throw UserError("cannot go into the background: \(SystemFailure(code: errno))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // Whoever ignores SIGCHLD, and hands that down, would keep the child's status from us.
        signal(SIGCHLD, SIG_DFL)
        let child = Glibc.fork()
        guard child >= 0 else { throw UserError("cannot go into the background: \(SystemFailure(code: errno))") }
        guard child == 0 else {
            close(ends[1])
            exit(waitForStart(of: child, pipe: ends[0]))
        }
        close(ends[0])
        return Daemonise(statusPipe: ends[1])
    }

    /// Leaves the terminal and lets the parent exit 0. Further calls do nothing.
    ///
    /// - Returns: False when the parent is gone: whoever started this has given up, and nothing should stay mounted.
    /// - Concurrency: safe from any thread.
    func reportReady() -> Bool {
        let pipe = statusPipe.withLock { pipe in
            defer { pipe = nil }
            return pipe
        }
        guard let pipe else { return true }
        // Until here the start could be interrupted from the terminal; from here on only by a signal of its own.
        setsid()
        _ = chdir("/")
        Self.detachStandardStreams()
        var byte: UInt8 = 1
        let count = write(pipe, &byte, 1)
        close(pipe)
        return count == 1
    }

    /// What the parent exits with: 0 after the byte, else the child's own status.
    private static func waitForStart(of child: pid_t, pipe: Int32) -> Int32 {
        var byte: UInt8 = 0
        var count = read(pipe, &byte, 1)
        while count < 0, errno == EINTR { count = read(pipe, &byte, 1) }
        if count == 1 { return 0 }
        var status: Int32 = 0
        var waited = waitpid(child, &status, 0)
        while waited < 0, errno == EINTR { waited = waitpid(child, &status, 0) }
        guard waited == child else { return 1 }
        // See: 'man 2 waitpid', WTERMSIG and WEXITSTATUS.
        let signal = status & 0x7f
        if signal == 0 { return (status >> 8) & 0xff }
        Console.say("cannot start: the background process was ended by signal \(signal) (\(String(cString: strsignal(signal))))")
        return 1
    }

    private static func detachStandardStreams() {
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard null >= 0 else { return }
        for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] { dup2(null, stream) }
        if null > STDERR_FILENO { close(null) }
    }
}
