// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import Glibc

/// The table of C functions that libfuse calls.
///
/// They stand in a nonisolated function of a library on purpose: closures written in `main.swift` or in an `@main` type would
/// belong to the main actor, and libfuse calls from threads of its own.
extension FileSystem {
    /// The functions; the user data of the session is the address of a ``FileSystem`` that outlives it.
    nonisolated static func operations() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        installSession(&table)
        installNames(&table)
        installData(&table)
        installRefusals(&table)
        // What is left out has an answer of its own: ACCESS never comes under default_permissions; opendir needs no handle;
        // extended attributes, ioctl, poll, copy_file_range and fsyncdir get ENOSYS, which the kernel remembers and turns into
        // what the system call needs; locks stay in the kernel.
        return table
    }

    private nonisolated static func installSession(_ table: inout fuse_lowlevel_ops) {
        table.`init` = { data, connection in
            guard let data, let connection else { return }
            Unmanaged<FileSystem>.fromOpaque(data).takeUnretainedValue().negotiate(&connection.pointee)
        }
        table.forget = { raw, _, _ in FUSERequest(raw).replyNothing() }
        table.forget_multi = { raw, _, _ in FUSERequest(raw).replyNothing() }
        table.statfs = { raw, _ in fileSystem(of: raw).fileSystemFigures(FUSERequest(raw)) }
    }

    private nonisolated static func installNames(_ table: inout fuse_lowlevel_ops) {
        table.lookup = { raw, parent, name in fileSystem(of: raw).lookup(FUSERequest(raw), parent: parent, name: name) }
        table.getattr = { raw, number, _ in fileSystem(of: raw).getAttributes(FUSERequest(raw), number) }
        table.setattr = { raw, number, wanted, which, _ in
            fileSystem(of: raw).setAttributes(FUSERequest(raw), number, to: wanted, which: which)
        }
        table.readdir = { raw, number, count, position, _ in
            fileSystem(of: raw).readDirectory(FUSERequest(raw), number, count: count, position: position)
        }
        table.unlink = { raw, parent, name in fileSystem(of: raw).unlink(FUSERequest(raw), parent: parent, name: name) }
    }

    private nonisolated static func installData(_ table: inout fuse_lowlevel_ops) {
        table.open = { raw, number, file in
            fileSystem(of: raw).open(FUSERequest(raw), number, flags: file?.pointee.flags ?? O_RDONLY)
        }
        table.release = { raw, number, file in
            fileSystem(of: raw).release(FUSERequest(raw), number, handle: file?.pointee.fh ?? 0)
        }
        table.read = { raw, number, count, offset, file in
            fileSystem(of: raw).read(FUSERequest(raw), number, count: count, offset: offset, handle: file?.pointee.fh ?? 0)
        }
        table.write = { raw, number, bytes, count, offset, _ in
            let bytes = UnsafeRawBufferPointer(start: bytes, count: count)
            fileSystem(of: raw).write(FUSERequest(raw), number, bytes, offset: offset)
        }
        table.flush = { raw, number, file in
            fileSystem(of: raw).flush(FUSERequest(raw), number, handle: file?.pointee.fh ?? 0)
        }
        table.fsync = { raw, number, _, _ in fileSystem(of: raw).synchronise(FUSERequest(raw), number) }
        table.fallocate = { raw, number, mode, offset, length, _ in
            fileSystem(of: raw).allocate(FUSERequest(raw), number, mode: mode, offset: offset, length: length)
        }
        table.lseek = { raw, number, offset, whence, _ in
            fileSystem(of: raw).seek(FUSERequest(raw), number, offset: offset, whence: whence)
        }
    }

    /// Without these the kernel would get ENOSYS, and some tools take that for a broken kernel.
    private nonisolated static func installRefusals(_ table: inout fuse_lowlevel_ops) {
        table.create = { raw, _, _, _, _ in FUSERequest(raw).reply(errno: EPERM) }
        table.mknod = { raw, _, _, _, _ in FUSERequest(raw).reply(errno: EPERM) }
        table.mkdir = { raw, _, _, _ in FUSERequest(raw).reply(errno: EPERM) }
        table.rmdir = { raw, _, _ in FUSERequest(raw).reply(errno: EPERM) }
        table.symlink = { raw, _, _, _ in FUSERequest(raw).reply(errno: EPERM) }
        table.link = { raw, _, _, _ in FUSERequest(raw).reply(errno: EPERM) }
        table.rename = { raw, _, _, _, _, _ in FUSERequest(raw).reply(errno: EPERM) }
    }

    /// INIT: chooses among what the kernel offers.
    ///
    /// Wanted: reads and direct I/O in parallel. Not wanted: splice (replies come from our own memory, where it gains
    /// nothing); the write-back cache (a write is acknowledged by the disk, not by the kernel); O_TRUNC within OPEN (the kernel
    /// would take the file for empty); checks of the modification time on each read (nobody else writes; they cost a request).
    func negotiate(_ connection: inout fuse_conn_info) {
        let wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS
        connection.want = connection.capable & UInt32(wanted)
        connection.max_write = options.maxWrite
        connection.max_background = options.maxBackground
        connection.congestion_threshold = options.congestionThreshold ?? max(options.maxBackground / 4 * 3, 1)
        // Can only be lowered.
        if let most = options.maxReadahead { connection.max_readahead = min(connection.max_readahead, most) }
        connection.time_gran = 1
    }
}

/// The file system that a request is for.
private func fileSystem(of raw: fuse_req_t?) -> FileSystem {
    guard let data = fuse_req_userdata(raw) else { preconditionFailure("the session has a file system") }
    return Unmanaged<FileSystem>.fromOpaque(data).takeUnretainedValue()
}
