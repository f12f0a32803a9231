// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import Glibc
internal import Synchronization

/// What is open.
struct OpenFiles: Sendable {
    /// How many descriptors of the disk file there are.
    var diskCount = 0
    /// The text that each open statistics file shows, by handle: that of the moment of its open.
    var snapshots: [UInt64: [UInt8]] = [:]
    /// The handle of the next open statistics file.
    private var nextHandle: UInt64 = 1

    /// Keeps `text` for an open statistics file.
    mutating func keep(_ text: [UInt8]) -> UInt64 {
        let handle = nextHandle
        nextHandle += 1
        snapshots[handle] = text
        return handle
    }
}

/// The flags in the answer to an open; pure.
struct OpenAnswer: Equatable {
    /// FOPEN_... flags for the disk file.
    ///
    /// - Parameters:
    ///   - isForWriting: Whether the descriptor may write. Others spare the kernel's FLUSH at each close.
    ///   - isDirectIO: Whether the page cache is bypassed; only with that do synchronous writers run side by side.
    static func diskFlags(isForWriting: Bool, isDirectIO: Bool, keepsCache: Bool) -> Int32 {
        var flags: Int32 = 0
        if isDirectIO {
            flags |= FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES
        } else if keepsCache {
            flags |= FOPEN_KEEP_CACHE
        }
        if !isForWriting { flags |= FOPEN_NOFLUSH }
        return flags
    }
}

/// OPEN and RELEASE.
extension FileSystem {
    /// The handle of a descriptor of the disk file that may not write.
    private static let readingHandle: UInt64 = 0
    /// The handle of a descriptor of the disk file that may write.
    private static let writingHandle: UInt64 = 1

    /// OPEN.
    func open(_ request: consuming FUSERequest, _ number: fuse_ino_t, flags: Int32) {
        let isForWriting = flags & O_ACCMODE != O_RDONLY
        switch node(number) {
        case .file:
            guard !isForWriting || !disk.isReadOnly else { return request.reply(errno: EROFS) }
            openDisk(request, isForWriting: isForWriting)
        case .statistics:
            guard !isForWriting else { return request.reply(errno: EACCES) }
            openStatistics(request)
        case .root, nil:
            request.reply(errno: EISDIR)
        }
    }

    private func openDisk(_ request: consuming FUSERequest, isForWriting: Bool) {
        times.recordAccess(at: realTimeNow())
        openFiles.withLock { $0.diskCount += 1 }
        let isTaken = request.reply(
            openHandle: isForWriting ? Self.writingHandle : Self.readingHandle,
            flags: OpenAnswer.diskFlags(
                isForWriting: isForWriting, isDirectIO: settings.isDirectIO || options.isDirectIO,
                keepsCache: options.keepsCache))
        if !isTaken { closeDisk() }
    }

    private func openStatistics(_ request: consuming FUSERequest) {
        let text = Array(statistics.text().utf8)
        let handle = openFiles.withLock { $0.keep(text) }
        // The size changes all the time, so the page cache must not believe in it.
        let isTaken = request.reply(openHandle: handle, flags: FOPEN_DIRECT_IO | FOPEN_NOFLUSH)
        if !isTaken { openFiles.withLock { $0.snapshots[handle] = nil } }
    }

    /// RELEASE: the last copy of a descriptor is closed. Nothing is written here; FLUSH was before.
    func release(_ request: consuming FUSERequest, _ number: fuse_ino_t, handle: UInt64) {
        switch node(number) {
        case .file: closeDisk()
        case .statistics: openFiles.withLock { $0.snapshots[handle] = nil }
        case .root, nil: break
        }
        request.reply(errno: 0)
    }

    private func closeDisk() {
        let count = openFiles.withLock { openFiles in
            openFiles.diskCount -= 1
            return openFiles.diskCount
        }
        if count == 0 { lastClose() }
    }

    /// Whether `handle` is that of a descriptor that may write.
    func isForWriting(_ handle: UInt64) -> Bool { handle == Self.writingHandle }
}
