// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// Bytes in a file beside the mount, to be written to the disk file and compared with it.
struct Pattern {
    /// The file with the bytes.
    let path: String
    /// How many there are.
    let count: Int

    /// Makes a pattern; the same seed gives the same bytes.
    init(in workspace: Workspace, name: String = "pattern", count: Int, seed: UInt64 = 7) throws {
        path = workspace.file(name)
        self.count = count
        var generator = SplitMix(seed: seed)
        var data = Data(capacity: count + 8)
        while data.count < count { withUnsafeBytes(of: generator.next()) { data.append(contentsOf: $0) } }
        try data.prefix(count).write(to: URL(fileURLWithPath: path))
    }

    /// Writes it to a file at an offset, and returns what `dd` said. Status 0 means that `fsync` has succeeded, too.
    func attemptWrite(to file: String, at offset: Int = 0, seconds: Int = 60) throws -> CommandResult {
        try Command.attempt(
            "dd",
            [
                "if=\(path)", "of=\(file)", "bs=64k", "oflag=seek_bytes", "seek=\(offset)", "conv=notrunc,fsync", "status=none",
            ],
            seconds: seconds)
    }

    /// Writes it to a file at an offset, durably.
    ///
    /// - Throws: `FixtureError` when that fails.
    func write(to file: String, at offset: Int = 0, seconds: Int = 60) throws {
        let result = try attemptWrite(to: file, at: offset, seconds: seconds)
        guard result.status == 0 else { throw FixtureError("cannot write: \(result)") }
    }

    /// Compares it with the bytes of a file at an offset.
    ///
    /// - Throws: `FixtureError` when they differ, or when the file cannot be read.
    func compare(with file: String, at offset: Int = 0, seconds: Int = 60) throws {
        try Command.run("cmp", ["-n", "\(count)", "-i", "0:\(offset)", path, file], seconds: seconds)
    }
}
