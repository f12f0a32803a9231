// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import DataPath
internal import Glibc

/// What the kernel is told.
enum FUSEReply: Sendable {
    /// It is done.
    case success
    /// So many bytes were written.
    case written(Int)
    /// These bytes were read.
    case bytes(DiskBytes)
    /// The position that a seek found.
    case position(UInt64)
    /// It could not be done; the error number says why.
    case failure(Int32)
}

/// One request of the kernel, which is answered exactly once: every reply consumes it.
///
/// A request that goes out of scope without a reply gets EIO, so that no process hangs in the kernel because of a mistake here.
struct FUSERequest: ~Copyable {
    private let raw: fuse_req_t?

    /// Takes charge of a request that libfuse has just delivered.
    init(_ raw: fuse_req_t?) { self.raw = raw }

    /// Takes charge again, in the task that answers.
    init(_ handle: FUSERequestHandle) { self.raw = handle.raw }

    deinit { fuse_reply_err(raw, EIO) }

    /// Gives up charge, so that a task may take it: a task's closure cannot capture what is not copyable.
    consuming func handOver() -> FUSERequestHandle {
        let handle = FUSERequestHandle(raw: raw)
        discard self
        return handle
    }

    /// Replies with an error number, or 0 for plain success.
    consuming func reply(errno: Int32) {
        fuse_reply_err(raw, errno)
        discard self
    }

    /// Replies to FORGET, which has no answer.
    consuming func replyNothing() {
        fuse_reply_none(raw)
        discard self
    }

    /// Replies with a directory entry.
    consuming func reply(entry: fuse_entry_param) {
        withUnsafePointer(to: entry) { _ = fuse_reply_entry(raw, $0) }
        discard self
    }

    /// Replies with attributes that are good for `timeout` seconds.
    consuming func reply(attributes: stat, timeout: Double) {
        withUnsafePointer(to: attributes) { _ = fuse_reply_attr(raw, $0, timeout) }
        discard self
    }

    /// Replies with the figures of a file system.
    consuming func reply(fileSystem figures: statvfs) {
        withUnsafePointer(to: figures) { _ = fuse_reply_statfs(raw, $0) }
        discard self
    }

    /// Replies to an open by hand: libfuse 3.14 has no field for FOPEN_PARALLEL_DIRECT_WRITES.
    ///
    /// - Returns: Whether the kernel took it. If not, the process was interrupted meanwhile and there will be no release.
    consuming func reply(openHandle: UInt64, flags: Int32) -> Bool {
        var out = fuse_open_out()
        out.fh = openHandle
        out.open_flags = UInt32(flags)
        let status = withUnsafeBytes(of: &out) {
            fuse_reply_buf(raw, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        discard self
        return status == 0
    }

    /// Replies with bytes; empty means the end of the file, or of the directory.
    consuming func reply(_ bytes: UnsafeRawBufferPointer) {
        fuse_reply_buf(raw, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        discard self
    }

    /// Replies with bytes that are lent.
    consuming func reply(_ bytes: borrowing RawSpan) {
        bytes.withUnsafeBytes {
            _ = fuse_reply_buf(raw, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        discard self
    }

    /// Replies with bytes of our own making.
    consuming func reply(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        bytes.withUnsafeBytes { _ = fuse_reply_buf(raw, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
        discard self
    }

    /// Replies with several runs of bytes in order; at most 1,000.
    consuming func reply(_ runs: [iovec]) {
        runs.withUnsafeBufferPointer { _ = fuse_reply_iov(raw, $0.baseAddress, Int32($0.count)) }
        discard self
    }

    /// One entry of a directory as the kernel wants it, of which only the inode number and the type in `status` count.
    ///
    /// - Parameter nextPosition: Where a reader goes on that has had this entry.
    borrowing func directoryEntry(_ name: String, status: stat, nextPosition: off_t) -> [UInt8] {
        let count = fuse_add_direntry(raw, nil, 0, name, nil, 0)
        return withUnsafePointer(to: status) { status in
            [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                filled = buffer.withMemoryRebound(to: CChar.self) {
                    fuse_add_direntry(raw, $0.baseAddress, count, name, status, nextPosition)
                }
            }
        }
    }

    /// Replies with the number of bytes written.
    consuming func reply(written count: Int) {
        fuse_reply_write(raw, count)
        discard self
    }

    /// Replies with the position that a seek found.
    consuming func reply(position: UInt64) {
        fuse_reply_lseek(raw, off_t(position))
        discard self
    }
}

/// A request on its way into the task that answers it; made by ``FUSERequest/handOver()``, used once.
struct FUSERequestHandle: @unchecked Sendable {
    // Proof for @unchecked: libfuse lets any thread answer a request, and FUSERequest hands it to one at a time.
    fileprivate let raw: fuse_req_t?
}
