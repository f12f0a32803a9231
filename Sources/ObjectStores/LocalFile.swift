// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
import DataPath
internal import Glibc

/// A failed system call.
struct SystemError: Error {
    /// Which call.
    let call: String
    /// Its errno.
    let errno: Int32

    /// The failure of the call that has just returned -1.
    init(_ call: String) {
        self.call = call
        self.errno = Glibc.errno
    }

    /// A failure that a call reports in another way.
    init(_ call: String, errno: Int32) {
        self.call = call
        self.errno = errno
    }

    /// The system's words for it.
    var text: String { String(cString: strerror(errno)) }
}

/// An open file, closed at the end of its life.
///
/// All calls are repeated when a signal interrupts them, and all handle short transfers.
struct LocalFile: ~Copyable {
    /// The descriptor, open for as long as this value lives.
    let descriptor: Int32

    deinit {
        // Nothing was written that is not synced already, so that a failure here loses nothing.
        _ = Glibc.close(descriptor)
    }

    // <fcntl.h> shows F_OFD_SETLK and F_OFD_SETLKW only to _GNU_SOURCE; the numbers are Linux's on every architecture.
    private static let lockOrFail: Int32 = 37
    private static let lockAndWait: Int32 = 38

    /// Opens `path`, from the directory `directory` if it is relative; see 'man 2 openat'. O_CLOEXEC is always set.
    init(_ path: String, in directory: Int32 = AT_FDCWD, flags: Int32, mode: mode_t = 0) throws(SystemError) {
        descriptor = try Self.repeating("openat") { openat(directory, path, flags | O_CLOEXEC, mode) }
    }

    /// The attributes; see 'man 2 fstat'.
    func status() throws(SystemError) -> stat {
        var status = stat()
        _ = try Self.repeating("fstat") { fstat(descriptor, &status) }
        return status
    }

    /// Fills `bytes` from the file's beginning; returns how many there were.
    func read(into bytes: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        var done = 0
        while done < bytes.count {
            let count = try Self.repeating("pread") {
                pread(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(done))
            }
            guard count > 0 else { break }
            done += count
        }
        return done
    }

    /// Writes all of `bytes` at the current position.
    func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = try Self.repeating("write") {
                Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            }
            guard count > 0 else { throw SystemError("write", errno: EIO) }
            done += count
        }
    }

    /// Makes the content durable; of a directory: its entries. See 'man 2 fsync'.
    ///
    /// Not repeated on failure: Linux reports a failed write-back once, and a second call could say that all is well.
    func sync() throws(SystemError) {
        guard fsync(descriptor) == 0 else { throw SystemError("fsync") }
    }

    /// Locks one byte, or from 0 on all of them, against every other open file, of this process and of others.
    ///
    /// The lock ends with this value. See 'man 2 fcntl', open file description locks.
    ///
    /// - Parameter mayWait: If not, the answer is false when somebody holds it.
    func lock(byte: Int, count: Int, mayWait: Bool) throws(SystemError) -> Bool {
        var range = flock()
        range.l_type = Int16(F_WRLCK)
        range.l_whence = Int16(SEEK_SET)
        range.l_start = off_t(byte)
        range.l_len = off_t(count)
        do throws(SystemError) {
            _ = try Self.repeating("fcntl") { fcntl(descriptor, mayWait ? Self.lockAndWait : Self.lockOrFail, &range) }
            return true
        } catch  where !mayWait && (error.errno == EAGAIN || error.errno == EACCES) {
            return false
        }
    }

    /// Reads a directory: names and `d_type`, without `.` and `..`, and without names that are not UTF-8.
    ///
    /// Ends this value: the descriptor goes to the directory stream.
    consuming func entries() throws(SystemError) -> [(name: String, type: UInt8)] {
        let descriptor = release()
        guard let stream = fdopendir(descriptor) else {
            let error = SystemError("fdopendir")
            _ = Glibc.close(descriptor)
            throw error
        }
        defer { closedir(stream) }
        var entries: [(name: String, type: UInt8)] = []
        while true {
            Glibc.errno = 0
            // See: 'man 3 readdir'; only errno tells the end from a failure.
            guard let entry = readdir(stream) else {
                guard Glibc.errno == 0 else { throw SystemError("readdir") }
                return entries
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let name, name != ".", name != ".." { entries.append((name, entry.pointee.d_type)) }
        }
    }

    /// Gives the descriptor away; whoever takes it closes it.
    private consuming func release() -> Int32 {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    /// Calls `body` until no signal interrupts it.
    static func repeating<Result: SignedInteger>(_ call: String, _ body: () -> Result) throws(SystemError) -> Result {
        while true {
            let result = body()
            if result >= 0 { return result }
            guard Glibc.errno == EINTR else { throw SystemError(call) }
        }
    }
}
