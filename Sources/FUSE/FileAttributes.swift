// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import Glibc

/// What stat(2) shows of an inode; pure arithmetic over what the file system knows.
///
/// `st_blocks` counts 512-byte units as POSIX has it, so `du` shows the size of the disk. (The C program reports the number of
/// its own blocks there.)
///
/// - Source: 'man 3type stat'.
struct FileAttributes: Equatable, Sendable {
    /// The inode.
    var node: Node
    /// Bytes.
    var sizeBytes: UInt64
    /// The unit for efficient I/O, in bytes.
    var preferredSizeBytes: Int
    /// Permissions without the file type.
    var permissions: UInt32
    /// Owner.
    var userID: UInt32
    /// Group.
    var groupID: UInt32
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    var accessTime: Int64
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    var modificationTime: Int64
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    var statusTime: Int64

    /// As the C structure.
    var status: stat {
        var status = stat()
        status.st_ino = ino_t(node.rawValue)
        status.st_mode = type | permissions
        status.st_nlink = node == .root ? 2 : 1
        status.st_uid = userID
        status.st_gid = groupID
        status.st_size = off_t(clamping: sizeBytes)
        status.st_blksize = blksize_t(preferredSizeBytes)
        status.st_blocks = node == .file ? blkcnt_t(clamping: (sizeBytes + 511) / 512) : 0
        status.st_atim = timespecOf(nanoseconds: accessTime)
        status.st_mtim = timespecOf(nanoseconds: modificationTime)
        status.st_ctim = timespecOf(nanoseconds: statusTime)
        return status
    }

    private var type: UInt32 { node == .root ? S_IFDIR : S_IFREG }
}
