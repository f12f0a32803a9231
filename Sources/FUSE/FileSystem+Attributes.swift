// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import Glibc

/// Names and attributes.
extension FileSystem {
    /// LOOKUP: finds a name in the root.
    func lookup(_ request: consuming FUSERequest, parent: fuse_ino_t, name: UnsafePointer<CChar>?) {
        guard parent == Node.root.rawValue, let name else { return request.reply(errno: ENOENT) }
        var entry = fuse_entry_param()
        if let node = node(named: String(cString: name)) {
            entry.ino = fuse_ino_t(node.rawValue)
            entry.attr = attributes(of: node).status
            entry.attr_timeout = attributeTimeout(of: node)
            entry.entry_timeout = options.entryTimeout
        } else {
            // Inode 0 is "no such name", which the kernel may remember; ENOENT it asks again every time.
            entry.entry_timeout = options.negativeTimeout
        }
        request.reply(entry: entry)
    }

    /// GETATTR.
    func getAttributes(_ request: consuming FUSERequest, _ number: fuse_ino_t) {
        guard let node = node(number) else { return request.reply(errno: ENOENT) }
        request.reply(attributes: attributes(of: node).status, timeout: attributeTimeout(of: node))
    }

    /// SETATTR: the times of the disk file may be set; a size up to the disk's own is accepted without effect, since `dd` and
    /// `mkfs` truncate what they are about to write; owner and permissions are given by the command line.
    func setAttributes(
        _ request: consuming FUSERequest, _ number: fuse_ino_t, to wanted: UnsafePointer<stat>?, which: Int32
    ) {
        guard let node = node(number), let wanted else { return request.reply(errno: ENOENT) }
        let change = AttributeChange(flags: which, wanted: wanted.pointee)
        let refusal = change.refusal(for: attributes(of: node), isReadOnly: disk.isReadOnly)
        guard refusal == 0 else { return request.reply(errno: refusal) }
        let now = realTimeNow()
        if let time = change.accessTime(now: now) { times.recordAccess(at: time) }
        if let time = change.modificationTime(now: now) { times.recordModification(at: time) }
        request.reply(attributes: attributes(of: node).status, timeout: attributeTimeout(of: node))
    }

    /// STATFS: a full disk of as many blocks as there are.
    func fileSystemFigures(_ request: consuming FUSERequest) {
        var figures = statvfs()
        let blockSize = UInt(disk.preferredSizeBytes)
        figures.f_bsize = blockSize
        figures.f_frsize = blockSize
        figures.f_blocks = fsblkcnt_t(disk.sizeBytes) / blockSize
        figures.f_files = settings.statisticsFileName.isEmpty ? 2 : 3
        figures.f_namemax = 255
        request.reply(fileSystem: figures)
    }

    /// The inode of this name in the root, if there is one.
    func node(named name: String) -> Node? {
        if name == settings.fileName { return .file }
        return name == settings.statisticsFileName && !name.isEmpty ? .statistics : nil
    }

    /// What stat(2) shows of `node` at this moment.
    func attributes(of node: Node) -> FileAttributes {
        var attributes = FileAttributes(
            node: node, sizeBytes: 0, preferredSizeBytes: disk.preferredSizeBytes, permissions: 0o755,
            userID: options.userID ?? settings.userID, groupID: options.groupID ?? settings.groupID,
            accessTime: times.start, modificationTime: times.start, statusTime: times.start)
        switch node {
        case .root:
            break
        case .file:
            attributes.permissions = settings.fileMode & 0o7777
            attributes.sizeBytes = disk.sizeBytes
            attributes.accessTime = times.accessTime
            attributes.modificationTime = times.modificationTime
        case .statistics:
            attributes.permissions = 0o444
            attributes.sizeBytes = UInt64(statistics.text().utf8.count)
            let now = realTimeNow()
            attributes.accessTime = now
            attributes.modificationTime = now
        }
        if let umask = options.umask { attributes.permissions = 0o777 & ~umask }
        return attributes
    }

    private func attributeTimeout(of node: Node) -> Double {
        node == .statistics ? 0 : options.attributeTimeout
    }
}

/// What a SETATTR request wants changed; pure.
struct AttributeChange {
    /// A combination of FUSE_SET_ATTR_...
    let flags: Int32
    /// The values; only those that the flags name count.
    let wanted: stat

    /// The error number that refuses the change, or 0.
    func refusal(for present: FileAttributes, isReadOnly: Bool) -> Int32 {
        if has(FUSE_SET_ATTR_MODE), wanted.st_mode & 0o7777 != present.permissions { return EPERM }
        if has(FUSE_SET_ATTR_UID), wanted.st_uid != present.userID { return EPERM }
        if has(FUSE_SET_ATTR_GID), wanted.st_gid != present.groupID { return EPERM }
        if has(FUSE_SET_ATTR_SIZE) {
            guard present.node == .file else { return EPERM }
            if isReadOnly { return EROFS }
            // Growth that does not happen would be a lie that the first write beyond the end finds out.
            if wanted.st_size > off_t(clamping: present.sizeBytes) { return EFBIG }
        }
        let setsTimes = has(FUSE_SET_ATTR_ATIME) || has(FUSE_SET_ATTR_MTIME)
        return setsTimes && present.node != .file ? EPERM : 0
    }

    /// The new access time, if there is to be one.
    func accessTime(now: Int64) -> Int64? {
        if has(FUSE_SET_ATTR_ATIME_NOW) { return now }
        return has(FUSE_SET_ATTR_ATIME) ? nanoseconds(wanted.st_atim) : nil
    }

    /// The new modification time, if there is to be one.
    func modificationTime(now: Int64) -> Int64? {
        if has(FUSE_SET_ATTR_MTIME_NOW) { return now }
        return has(FUSE_SET_ATTR_MTIME) ? nanoseconds(wanted.st_mtim) : nil
    }

    private func has(_ flag: Int32) -> Bool { flags & flag != 0 }
}
