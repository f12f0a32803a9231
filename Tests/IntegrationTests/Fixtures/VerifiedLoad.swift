// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// fio beside the test, round after round, each of which writes two files, fsyncs now and then, and reads everything back.
///
/// - Concurrency: for one thread.
final class VerifiedLoad {
    private let child: ChildProcess
    private let stopFile: String

    /// Starts on a mounted file system.
    init(in directory: String, workspace: Workspace) throws {
        stopFile = workspace.file("stop")
        let job = Fio.arguments(
            file: "$1/first:$1/second",
            [
                "--rw=randwrite", "--bs=16k", "--size=48m", "--io_size=24m", "--ioengine=libaio", "--iodepth=8",
                "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--fsync=128", "--randseed=$round",
            ]
        ).map { "\"\($0)\"" }.joined(separator: " ")
        let script = """
            round=0
            until [ -e "$2" ]; do
                round=$((round + 1))
                timeout -k 5 280 fio \(job) || exit 1
            done
            """
        child = try ChildProcess(
            "timeout", ["-k", "5", "900", "bash", "-c", script, "bash", directory, stopFile], log: workspace.file("load"))
    }

    /// What fio says of errors, without its numbers.
    private var complaints: String {
        let lines = child.log.split(separator: "\n").filter {
            $0.contains("fio:") || $0.contains("verify") || $0.contains("\"error\"")
        }
        return lines.suffix(20).joined(separator: "\n")
    }

    /// Lets it work for so many seconds.
    ///
    /// - Throws: `FixtureError` when it ends in this time, which means that an operation failed or that something else was read.
    func expectRunning(for seconds: Int) throws {
        _ = eventually(within: Double(seconds)) { child.poll() != nil }
        guard child.poll() == nil else { throw FixtureError("the load has failed: \(complaints)") }
    }

    /// Ends it after the round that it is in.
    ///
    /// - Throws: `FixtureError` when it does not end in this time, or when its last round failed.
    func end(seconds: Double) throws {
        guard FileManager.default.createFile(atPath: stopFile, contents: nil) else { throw FixtureError("no \(stopFile)") }
        guard try child.wait(seconds: seconds) == 0 else { throw FixtureError("the load has failed: \(complaints)") }
    }
}
