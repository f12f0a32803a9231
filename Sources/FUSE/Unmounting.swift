// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// Takes a mount away, as root by itself and otherwise through fusermount3.
enum Unmounting {
    /// What came of it.
    enum Outcome: Equatable, Sendable {
        /// The mount is gone.
        case done
        /// Something is still open below it, or the working directory of something.
        case busy
        /// Another mount lies on top, or ours is not in the table (it was detached before): not ours to take away.
        case notOnTop
        /// It failed in another way.
        case failed(String)
    }

    /// Unmounts what is mounted on `path`, if it is the connection `deviceMinor`; nil unmounts whatever it is.
    ///
    /// - Parameter isLazy: Whether the mount leaves the tree at once and its users keep it; only for a dead connection.
    static func unmount(_ path: String, deviceMinor: UInt32?, isLazy: Bool) -> Outcome {
        if let deviceMinor, MountTable.entry(at: path)?.deviceMinor != deviceMinor { return .notOnTop }
        guard geteuid() == 0 else { return unmountAsUser(path, isLazy: isLazy) }
        // See: 'man 2 umount'.
        let flags = Int32(UMOUNT_NOFOLLOW) | (isLazy ? Int32(MNT_DETACH) : 0)
        guard umount2(path, flags) != 0 else { return .done }
        return errno == EBUSY ? .busy : .failed(describe(errno: errno))
    }

    /// Only the set-user-ID program may unmount for a user. It tells its reasons in words alone, so any failure is "busy".
    private static func unmountAsUser(_ path: String, isLazy: Bool) -> Outcome {
        let arguments = ["fusermount3", "-u", "-q"] + (isLazy ? ["-z"] : []) + ["--", path]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        var process = pid_t()
        let status = posix_spawnp(&process, "fusermount3", nil, nil, pointers, environ)
        guard status == 0 else { return .failed("cannot run fusermount3: \(describe(errno: status))") }
        var exitStatus: Int32 = 0
        while waitpid(process, &exitStatus, 0) < 0 {
            guard errno == EINTR else { return .failed("cannot wait for fusermount3: \(describe(errno: errno))") }
        }
        return exitStatus == 0 ? .done : .busy
    }

    /// Breaks the connection with the kernel: whatever waits for it gets ECONNABORTED, and the session ends.
    ///
    /// - Returns: Whether that could be done.
    /// - Source: Documentation/filesystems/fuse.rst of the kernel, "Interrupting filesystem operations" and "abort".
    static func abortConnection(deviceMinor: UInt32?, mountPoint: String) -> Bool {
        if let deviceMinor {
            let descriptor = open("/sys/fs/fuse/connections/\(deviceMinor)/abort", O_WRONLY | O_CLOEXEC)
            if descriptor >= 0 {
                defer { close(descriptor) }
                if write(descriptor, "1", 1) == 1 { return true }
            }
        }
        // The control file system is not mounted everywhere. A forced unmount aborts too, even where it then finds the mount
        // busy.
        let status = umount2(mountPoint, Int32(MNT_FORCE) | Int32(UMOUNT_NOFOLLOW))
        return status == 0 || errno == EBUSY
    }
}
