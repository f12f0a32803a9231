// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

/// A file system that people put on such a disk.
enum FileSystem: String, Sendable, CaseIterable, CustomTestStringConvertible {
    case ext4
    case xfs
    case btrfs

    /// Its name.
    var testDescription: String { rawValue }

    /// Makes the file system on a device.
    func make(on device: String, options: [String] = []) throws {
        let quiet = self == .ext4 ? ["-q", "-F"] : self == .xfs ? ["-q", "-f"] : ["-q", "-f"]
        try Command.run("mkfs.\(rawValue)", quiet + options + [device], seconds: 120)
    }

    /// Mounts it.
    func mount(_ device: String, at point: String) throws {
        try Command.run("mount", ["-t", rawValue, device, point], seconds: 60)
    }

    /// Unmounts it; the dirty pages are written first.
    func unmount(_ point: String) throws { try Command.run("umount", [point], seconds: 120) }

    /// Lets its own checker look at every structure, read-only.
    ///
    /// - Throws: `FixtureError` with the findings.
    func check(_ device: String) throws {
        switch self {
        case .ext4: try Command.run("e2fsck", ["-fn", device], seconds: 120)
        case .xfs: try Command.run("xfs_repair", ["-n", device], seconds: 120)
        case .btrfs: try Command.run("btrfs", ["check", "--readonly", device], seconds: 120)
        }
    }
}
