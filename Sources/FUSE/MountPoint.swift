// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import Glibc

/// Looks at a mount point before libfuse does, whose complaints are hard to read.
enum MountPoint {
    /// Checks that something can be mounted on `path`.
    ///
    /// - Returns: The absolute path without symbolic links.
    /// - Throws: `.badMountPoint` when it is missing, no directory, or has a mount of s3backer already; `.unavailable` when
    ///   the machine, or its settings, do not allow it.
    static func check(_ path: String) throws(FUSEError) -> String {
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure(path, errno: errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw FUSEError(.badMountPoint, "cannot mount on \"\(path)\": it is not a directory; name an empty one")
        }
        guard let resolved = realpath(path, nil) else { throw failure(path, errno: errno) }
        defer { free(resolved) }
        let absolute = String(cString: resolved)
        if let entry = MountTable.entry(at: absolute), entry.type == "fuse.s3backer" {
            throw FUSEError(
                .badMountPoint, "cannot mount on \"\(path)\": another s3backer is mounted there; unmount it first")
        }
        try checkMachine(for: path)
        return absolute
    }

    private static func failure(_ path: String, errno number: Int32) -> FUSEError {
        switch number {
        case ENOENT:
            FUSEError(.badMountPoint, "cannot mount on \"\(path)\": there is no such directory; make it first")
        case ENOTCONN, ECONNABORTED:
            FUSEError(
                .badMountPoint,
                "cannot mount on \"\(path)\": a dead mount is still there; remove it with umount \"\(path)\"")
        default:
            FUSEError(.badMountPoint, "cannot mount on \"\(path)\": \(describe(errno: number)); name another directory")
        }
    }

    private static func checkMachine(for path: String) throws(FUSEError) {
        guard access("/dev/fuse", F_OK) == 0 else {
            throw FUSEError(
                .unavailable, "cannot mount on \"\(path)\": there is no /dev/fuse; load the kernel module with modprobe fuse")
        }
        guard geteuid() != 0 else { return }
        let lines = contents(of: "/etc/fuse.conf")?.split(separator: "\n") ?? []
        guard lines.contains(where: { $0.split(separator: " ").first == "user_allow_other" }) else {
            throw FUSEError(
                .unavailable,
                "cannot mount on \"\(path)\": only root may let other users in (allow_other); put user_allow_other into /etc/fuse.conf"
            )
        }
    }
}
