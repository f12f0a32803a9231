// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import DataPath
internal import Glibc

/// WRITE, FLUSH and FSYNC.
extension FileSystem {
    /// WRITE of the disk file. One that crosses the end is cut there, and the count says so; one beyond it gets ENOSPC, as on a
    /// block device.
    func write(
        _ request: consuming FUSERequest, _ number: fuse_ino_t, _ bytes: UnsafeRawBufferPointer, offset: off_t
    ) {
        guard node(number) == .file else { return request.reply(errno: EINVAL) }
        guard !disk.isReadOnly else { return request.reply(errno: EROFS) }
        guard let range = ByteSpan(offset: Int64(offset), count: bytes.count, size: disk.sizeBytes) else {
            return request.reply(errno: EINVAL)
        }
        guard !range.inside.isEmpty else {
            return bytes.isEmpty ? request.reply(written: 0) : request.reply(errno: ENOSPC)
        }
        let inside = range.inside
        let bytes = UnsafeRawBufferPointer(rebasing: bytes[..<inside.count])
        if disk.writeNow(bytes, at: inside.lowerBound) {
            times.recordModification(at: realTimeNow())
            return request.reply(written: inside.count)
        }
        // libfuse uses its memory again as soon as this function returns.
        let copy = BufferSlice(pool.copy(bytes))
        answer(request) { [self] () async throws(BlockStoreError) in
            try await disk.write(copy, at: inside.lowerBound, .foreground)
            times.recordModification(at: realTimeNow())
            return .written(inside.count)
        }
    }

    /// FLUSH: a descriptor is closed. Only one that may have written has anything to wait for.
    func flush(_ request: consuming FUSERequest, _ number: fuse_ino_t, handle: UInt64) {
        guard node(number) == .file, isForWriting(handle) else { return request.reply(errno: 0) }
        makeDurable(request)
    }

    /// FSYNC, with and without the attributes, of which none needs keeping.
    func synchronise(_ request: consuming FUSERequest, _ number: fuse_ino_t) {
        guard node(number) == .file else { return request.reply(errno: 0) }
        makeDurable(request)
    }

    private func makeDurable(_ request: consuming FUSERequest) {
        if disk.flushNow() { return request.reply(errno: 0) }
        let disk = disk
        answer(request) { () async throws(BlockStoreError) in
            try await disk.flush(nil)
            return .success
        }
    }
}
