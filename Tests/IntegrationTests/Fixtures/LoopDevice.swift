// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// A loop device over a disk file.
struct LoopDevice {
    /// `/dev/loopN`
    let path: String

    /// Attaches a free device.
    ///
    /// - Parameter isDirect: Whether the kernel keeps nothing of the file in its page cache, so that each request gets to the daemon.
    init(over file: String, isDirect: Bool = false) throws {
        let direct = isDirect ? ["--direct-io=on"] : []
        path = try Command.run("losetup", ["--find", "--show"] + direct + [file], seconds: 30).output
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Detaches it; the kernel writes out what it holds first.
    ///
    /// - Throws: `FixtureError` when it is still attached after ten seconds.
    func detach() throws {
        try Command.run("losetup", ["-d", path], seconds: 60)
        let name = URL(fileURLWithPath: path).lastPathComponent
        guard eventually(within: 10, { access("/sys/block/\(name)/loop/backing_file", F_OK) != 0 }) else {
            throw FixtureError("\(path) is still attached")
        }
    }
}
