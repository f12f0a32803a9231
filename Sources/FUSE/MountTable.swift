// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// One line of /proc/self/mountinfo.
///
/// - Source: 'man 5 proc_pid_mountinfo'.
struct MountTableEntry: Equatable, Sendable {
    /// The minor number of its device; for FUSE the number of the connection in /sys/fs/fuse/connections as well.
    let deviceMinor: UInt32
    /// The directory it is mounted on.
    let mountPoint: String
    /// For instance `fuse.s3backer`.
    let type: String

    /// Reads a line such as `36 35 0:52 / /mnt rw,nosuid shared:1 - fuse.s3backer source rw`.
    ///
    /// - Returns: Nil when the line is not of that form.
    init?(line: some StringProtocol) {
        let fields = line.split(separator: " ", omittingEmptySubsequences: true)
        guard fields.count > 6, let dash = fields[6...].firstIndex(of: "-"), dash + 1 < fields.count else { return nil }
        let device = fields[2].split(separator: ":")
        guard device.count == 2, let minor = UInt32(device[1]) else { return nil }
        deviceMinor = minor
        mountPoint = Self.unescape(fields[4])
        type = String(fields[dash + 1])
    }

    /// Undoes the octal escapes of blanks, tabs, newlines and backslashes.
    private static func unescape(_ field: some StringProtocol) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = String(decoding: rest.prefix(3), as: UTF8.self)
            if byte == UInt8(ascii: "\\"), digits.utf8.count == 3, let code = UInt8(digits, radix: 8) {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// What is mounted, as this process sees it.
enum MountTable {
    /// What is mounted on the directory `path`, which is absolute and without symbolic links; the topmost of several.
    ///
    /// - Returns: Nil when nothing is, or when the table cannot be read.
    static func entry(at path: String) -> MountTableEntry? {
        guard let table = contents(of: "/proc/self/mountinfo") else { return nil }
        var found: MountTableEntry?
        for line in table.split(separator: "\n") {
            if let entry = MountTableEntry(line: line), entry.mountPoint == path { found = entry }
        }
        return found
    }
}

/// The text of a small file, or nil when it cannot be read; for files of the kernel, whose size is not known before.
func contents(of path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16384)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
        bytes.append(contentsOf: chunk[..<count])
    }
}
