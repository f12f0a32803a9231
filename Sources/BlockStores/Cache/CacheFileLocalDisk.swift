// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Glibc
internal import Synchronization

/// A file of the local disk, locked for this process.
///
/// It is open twice: Linux tells each open file once that pages could not be written, so that a ``settle()`` beside a
/// ``synchronize()`` cannot take the error away from it.
///
/// - Source: 'man 2 open', 'man 2 flock', 'man 2 fallocate', 'man 2 sync_file_range', 'man 2 fdatasync'.
final class CacheFileLocalDisk: CacheFileDisk {
    /// What can be done with a file that is there.
    enum Access: Sendable {
        /// Only look.
        case reading
        /// Use it.
        case writing
    }

    /// Where it is; for messages.
    let path: String
    private let file: Int32
    private let settling: Mutex<Int32>
    private let isAdvised: Bool

    /// Opens a file and locks it.
    ///
    /// - Returns: Nil when there is none.
    /// - Throws: `.notACacheFile` for a link, a folder or a device; `.inUse`; `.io`.
    init?(path: String, access: Access, isAdvised: Bool) throws(CacheFileError) {
        let flags = (access == .reading ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        let file = open(path, flags)
        if file < 0 {
            switch errno {
            case ENOENT: return nil
            case ELOOP: throw Self.refusal(.notACacheFile, path, "it is a symbolic link; name the file itself")
            case EISDIR: throw Self.refusal(.notACacheFile, path, "it is a directory; name a file in it")
            default: throw Self.refusal(.io, path, "\(Self.reason(errno)); check the file and its directory")
            }
        }
        self.path = path
        self.isAdvised = isAdvised
        self.file = file
        settling = Mutex(-1)
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Self.refusal(.io, path, Self.reason(errno)) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Self.refusal(.notACacheFile, path, "it is no regular file; name another one")
        }
        try lock()
        // Between the two a process that had the file may have put a new one in its place, and ended.
        var named = stat()
        guard lstat(path, &named) == 0, named.st_ino == status.st_ino, named.st_dev == status.st_dev else {
            throw Self.refusal(.inUse, path, "another process has just replaced it; try again")
        }
        if access == .writing { try openAgain() }
    }

    /// Makes a new file and locks it.
    ///
    /// - Parameter wanted: What the user calls the file, for messages.
    /// - Throws: `.io`, also when there is one already.
    init(creating path: String, for wanted: String, isAdvised: Bool) throws(CacheFileError) {
        file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        self.path = path
        self.isAdvised = isAdvised
        settling = Mutex(-1)
        guard file >= 0 else {
            throw Self.refusal(.io, wanted, "it cannot be made: \(Self.reason(errno)); check its directory")
        }
        try lock()
        try openAgain()
    }

    deinit {
        if file >= 0 { close(file) }
        settling.withLock { if $0 >= 0 { close($0) } }
    }

    /// The bytes of the file.
    var size: UInt64 {
        var status = stat()
        return fstat(file, &status) == 0 ? UInt64(status.st_size) : 0
    }

    /// The bytes that the file system has left for us.
    var available: UInt64 {
        var status = statvfs()
        return fstatvfs(file, &status) == 0 ? UInt64(status.f_bavail) * UInt64(status.f_frsize) : .max
    }

    /// Makes the file empty.
    func truncate() -> Bool { ftruncate(file, 0) == 0 }

    // MARK: CacheFileDisk

    /// See ``CacheFileDisk/read(into:at:)``.
    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        var done = 0
        while done < target.count {
            let count = pread(file, target.baseAddress.map { $0 + done }, target.count - done, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read from") }
            guard count > 0 else {
                target.part(done, target.count - done).initializeMemory(as: UInt8.self, repeating: 0)
                break
            }
            done += count
        }
        advise(target.count, offset)
    }

    /// See ``CacheFileDisk/write(_:at:)``.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(BlockStoreError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(file, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("write to") }
            done += count
        }
        advise(bytes.count, offset)
    }

    /// See ``CacheFileDisk/startWriting()``.
    func startWriting() {
        // What cannot be written is told by the next fdatasync(2), as when the kernel begins by itself.
        _ = linux_start_writing(file)
    }

    /// See ``CacheFileDisk/synchronize()``.
    func synchronize() throws(BlockStoreError) {
        guard fdatasync(file) == 0 else { throw failure("synchronize") }
    }

    /// See ``CacheFileDisk/settle()``; through the file that is open a second time.
    func settle() throws(BlockStoreError) {
        try settling.withLock { settling throws(BlockStoreError) in
            guard fdatasync(settling) == 0 else { throw failure("synchronize") }
        }
    }

    /// See ``CacheFileDisk/reserve(_:at:)``.
    func reserve(_ count: UInt64, at offset: UInt64) throws(BlockStoreError) {
        while linux_fallocate(file, 0, Int64(offset), Int64(count)) != 0 {
            switch errno {
            case EINTR: continue
            case EOPNOTSUPP, ENOSYS:
                // A file system that cannot promise room; then the file at least has its size.
                guard size < offset + count, ftruncate(file, off_t(offset + count)) != 0 else { return }
                throw failure("reserve room in")
            default: throw failure("reserve room in")
            }
        }
    }

    // MARK: Smaller parts

    private func lock() throws(CacheFileError) {
        guard flock(file, LOCK_EX | LOCK_NB) != 0 else { return }
        if errno == EWOULDBLOCK {
            throw Self.refusal(
                .inUse, path,
                "another process uses it, perhaps an earlier mount that is still writing back: wait until it has ended, or name "
                    + "another file")
        }
        throw Self.refusal(.io, path, "it cannot be locked: \(Self.reason(errno))")
    }

    private func openAgain() throws(CacheFileError) {
        // Through the descriptor: the path may lead elsewhere by now.
        let again = open("/proc/self/fd/\(file)", O_RDWR | O_CLOEXEC)
        guard again >= 0 else { throw Self.refusal(.io, path, "it cannot be opened again: \(Self.reason(errno))") }
        settling.withLock { $0 = again }
    }

    private func advise(_ count: Int, _ offset: UInt64) {
        // Advice only: whatever comes of it, the data is as good as before.
        if isAdvised { _ = posix_fadvise(file, off_t(offset), off_t(count), POSIX_FADV_DONTNEED) }
    }

    private func failure(_ verb: String) -> BlockStoreError {
        let number = errno
        let code: BlockStoreError.Code = number == ENOSPC || number == EDQUOT ? .noSpace : .io
        return BlockStoreError(code, "cannot \(verb) the cache file \"\(path)\": \(Self.reason(number))")
    }

    /// Words for an error number.
    static func reason(_ number: Int32) -> String { String(cString: strerror(number)).lowercased() }

    /// An error that names the file.
    static func refusal(_ code: CacheFileError.Code, _ path: String, _ cause: String) -> CacheFileError {
        CacheFileError(code, "cannot use the cache file \"\(path)\": \(cause)")
    }
}
