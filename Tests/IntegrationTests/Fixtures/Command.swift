// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// A failure of a fixture: what could not be done, and what was seen instead.
struct FixtureError: Error, CustomStringConvertible {
    /// The message, for people.
    let description: String

    /// Creates an error with its message.
    init(_ description: String) { self.description = description }
}

/// What a command that ended has left.
struct CommandResult: CustomStringConvertible {
    /// The command line, for messages.
    let line: String
    /// The exit status; 128 + the number of a signal that ended it; 124 or 137 when the time was up.
    let status: Int32
    /// What it wrote to standard output.
    let output: String
    /// What it wrote to standard error.
    let errorOutput: String
    /// How long it ran, in seconds.
    let seconds: Double

    /// Whether the time limit ended it.
    var timedOut: Bool { status == 124 || status == 137 }

    /// Everything, for the message of a failed test.
    var description: String {
        "\(line)\n  status \(status) after \(String(format: "%.2f", seconds)) s\n  stdout: \(output)\n  stderr: \(errorOutput)"
    }

    /// The lines of standard error which are not empty.
    var errorLines: [String] { errorOutput.split(separator: "\n").map(String.init) }
}

/// Runs programs to their end, each with a time limit, for whatever touches a mount may hang.
enum Command {
    /// Runs a program and returns what it did, whatever its status.
    ///
    /// The output goes to unlinked files and not to pipes, so that a daemon which inherits them delays nobody.
    ///
    /// - Parameter seconds: After this time it gets SIGTERM, five seconds later SIGKILL.
    /// - Throws: `FixtureError` when it cannot be started.
    static func attempt(
        _ program: String, _ arguments: [String], seconds: Int = 60, environment: [String: String] = [:], input: String? = nil
    ) throws -> CommandResult {
        let output = try scratchFile()
        defer { close(output) }
        let errorOutput = try scratchFile()
        defer { close(errorOutput) }
        let standardInput = try scratchFile()
        defer { close(standardInput) }
        if let input {
            let bytes = Array(input.utf8)
            guard pwrite(standardInput, bytes, bytes.count, 0) == bytes.count else { throw FixtureError("cannot write input") }
        }
        let start = ContinuousClock.now
        let pid = try ChildProcess.spawn(
            ["timeout", "-k", "5", "\(seconds)", program] + arguments, environment: environment,
            descriptors: [standardInput, output, errorOutput])
        let status = ChildProcess.wait(pid)
        return CommandResult(
            line: ([program] + arguments).joined(separator: " "), status: status, output: try contents(of: output),
            errorOutput: try contents(of: errorOutput), seconds: (ContinuousClock.now - start) / .seconds(1))
    }

    /// Runs a program that must succeed, and returns what it did.
    ///
    /// - Throws: `FixtureError` with its output when its status is not 0.
    @discardableResult
    static func run(
        _ program: String, _ arguments: [String], seconds: Int = 60, environment: [String: String] = [:], input: String? = nil
    ) throws -> CommandResult {
        let result = try attempt(program, arguments, seconds: seconds, environment: environment, input: input)
        guard result.status == 0 else { throw FixtureError("command failed: \(result)") }
        return result
    }

    /// Runs a shell script that must succeed, with `-eu`; `$1` and so on are the arguments.
    @discardableResult
    static func shell(_ script: String, _ arguments: [String] = [], seconds: Int = 60) throws -> CommandResult {
        try run("bash", ["-euo", "pipefail", "-c", script, "bash"] + arguments, seconds: seconds)
    }

    private static func scratchFile() throws -> Int32 {
        var template = Array("/tmp/s3backer-output.XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw FixtureError("cannot make a file in /tmp: \(String(cString: strerror(errno)))") }
        unlink(template)
        return descriptor
    }

    private static func contents(of descriptor: Int32) throws -> String {
        lseek(descriptor, 0, SEEK_SET)
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
        let data = try handle.readToEnd() ?? Data()
        return String(decoding: data, as: UTF8.self)
    }
}

/// Waits until a condition holds, asking every 20 ms; for things that other processes do.
///
/// - Returns: Whether it held before the time was up.
func eventually(within seconds: Double, _ condition: () throws -> Bool) rethrows -> Bool {
    let end = ContinuousClock.now + .seconds(seconds)
    while true {
        if try condition() { return true }
        if ContinuousClock.now >= end { return false }
        usleep(20_000)
    }
}
