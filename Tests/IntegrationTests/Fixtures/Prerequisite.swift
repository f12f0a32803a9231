// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

/// Something a test needs of the machine.
enum Prerequisite: String, Sendable {
    case root = "root"
    case fuse = "/dev/fuse"
    case loop = "/dev/loop-control"
    case gateway = "Ceph RADOS Gateway (radosgw, ceph-mon, ceph-osd)"
    case curl = "curl"
    case fio = "fio"
    case xfs = "mkfs.xfs (xfsprogs)"
    case btrfs = "mkfs.btrfs (btrfs-progs)"
    case debianS3Backer = "Debian's s3backer 1.5.4 in /usr/bin/s3backer"
    case overlay = "unshare and overlayfs"

    /// Whether the environment asks for these tests at all: `S3BACKER_INTEGRATION=1`.
    static var testsAreRequested: Bool { ProcessInfo.processInfo.environment["S3BACKER_INTEGRATION"] == "1" }

    /// Whether a missing prerequisite is a failure: `CI=true`.
    static var mustBeThere: Bool { ProcessInfo.processInfo.environment["CI"] == "true" }

    /// Whether the machine has it.
    var isThere: Bool {
        switch self {
        case .root: geteuid() == 0
        case .fuse: access("/dev/fuse", R_OK | W_OK) == 0
        case .loop: access("/dev/loop-control", R_OK | W_OK) == 0
        case .gateway:
            ["radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "monmaptool"].allSatisfy(Self.isProgram)
        case .curl: Self.isProgram("curl")
        case .fio: Self.isProgram("fio")
        case .xfs: Self.isProgram("mkfs.xfs") && Self.isProgram("xfs_repair")
        case .btrfs: Self.isProgram("mkfs.btrfs") && Self.isProgram("btrfs")
        case .debianS3Backer: access("/usr/bin/s3backer", X_OK) == 0
        case .overlay: Self.isProgram("unshare") && Self.kernelKnows(fileSystem: "overlay")
        }
    }

    private static func isProgram(_ name: String) -> Bool {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let directories = path.split(separator: ":").map(String.init) + ["/sbin", "/usr/sbin"]
        return directories.contains { access("\($0)/\(name)", X_OK) == 0 }
    }

    private static func kernelKnows(fileSystem: String) -> Bool {
        let known = (try? String(contentsOfFile: "/proc/filesystems", encoding: .utf8)) ?? ""
        return known.contains(fileSystem)
    }
}

/// A machine that must run every test lacks something.
struct MissingPrerequisite: Error, CustomStringConvertible {
    /// What is missing, for people.
    let description: String
}

extension Trait where Self == ConditionTrait {
    /// Skips the test, saying why, where the machine lacks something; fails it there when `CI=true`.
    static func needs(_ prerequisites: Prerequisite...) -> Self {
        let missing = prerequisites.filter { !$0.isThere }.map(\.rawValue).joined(separator: ", ")
        return .enabled("not on this machine: \(missing)") {
            guard !missing.isEmpty else { return true }
            guard Prerequisite.testsAreRequested, Prerequisite.mustBeThere else { return false }
            throw MissingPrerequisite(description: "CI=true, but this machine lacks: \(missing)")
        }
    }
}
