// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import Glibc

/// READDIR, UNLINK, and what a directory of fixed content refuses.
extension FileSystem {
    /// READDIR: `.`, `..`, the disk file, and the statistics file unless it is hidden.
    ///
    /// - Parameter position: How many entries the reader has already.
    func readDirectory(_ request: consuming FUSERequest, _ number: fuse_ino_t, count: Int, position: off_t) {
        guard node(number) == .root else { return request.reply(errno: ENOTDIR) }
        var entries: [(name: String, node: Node)] = [(".", .root), ("..", .root), (settings.fileName, .file)]
        if !settings.statisticsFileName.isEmpty { entries.append((settings.statisticsFileName, .statistics)) }
        var listing: [UInt8] = []
        for (index, entry) in entries.enumerated().dropFirst(Int(max(position, 0))) {
            let bytes = request.directoryEntry(
                entry.name, status: attributes(of: entry.node).status, nextPosition: off_t(index + 1))
            guard listing.count + bytes.count <= count else { break }
            listing += bytes
        }
        request.reply(listing)
    }

    /// UNLINK: removing the statistics file resets the statistics, and the file stays; nothing else can be removed.
    func unlink(_ request: consuming FUSERequest, parent: fuse_ino_t, name: UnsafePointer<CChar>?) {
        guard parent == Node.root.rawValue, let name, node(named: String(cString: name)) == .statistics else {
            return request.reply(errno: EPERM)
        }
        statistics.reset()
        request.reply(errno: 0)
    }
}
