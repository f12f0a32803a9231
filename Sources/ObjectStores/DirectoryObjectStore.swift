// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

// Layout on disk. DIR is the directory, KEY the full name of an object (`sub/0000001f`).
//
//   DIR/KEY                              the object's bytes, nothing else: what the C program's --test writes and reads
//   DIR/sub/.s3backer.meta.NAME          metadata of DIR/sub/NAME, if it is not what the store takes for
//                                        granted (`undescribed`; `DirectorySidecar` has the format)
//   DIR/sub/.s3backer.tmp.HEX            a file being written; one left by a crash is removed at the next start
//   DIR/.s3backer.lock                   empty; its bytes are locked, never written
//
// Slashes of a key are directories, made as needed and never removed. A component that begins with `.s3backer.` belongs to the
// store. ETag: MD5 of the bytes in hexadecimal, computed at each read.
//
// Order of a put, so that after a crash the object is the old one or the new one, with its own metadata:
//   1. lock the key's byte of the lock file (`DirectoryPath.lockByte`), check the condition, make directories
//   2. if there is such metadata, or was: write it as in 3 and 4, with the records of both bodies; fsync the directory
//   3. write a temporary file, fsync
//   4. rename it to DIR/KEY, fsync the directory
//   5. if there is no such metadata any more: unlink it
// Of a delete: lock, unlink DIR/KEY, fsync the directory, unlink the metadata.

internal import CLinux
internal import Cryptography
public import DataPath
internal import Glibc
internal import Synchronization

/// Objects as files below a local directory: `--test`, and the demo.
///
/// Crash-safe: a mutation that returned survives power loss, one that did not return was done whole or not at all. Conditions are
/// exact also between processes.
///
/// - Concurrency: blocks the calling thread in file I/O, so it runs on an executor that may be blocked.
/// - Source: Docs/Formats/Directory.md.
public final class DirectoryObjectStore: ObjectStore {
    let directory: String
    let pool: BufferPool
    let isReadOnly: Bool
    /// The metadata of an object without a metadata file.
    let undescribed: ObjectMetadata
    let top: LocalFile
    /// The directories whose way up to the top is known to be durable; forgotten in bulk, so that it stays small.
    let durableParents = Mutex<Set<String>>([])
    /// Called before every step; tests stop there, as a crash would.
    let willStep: @Sendable (DirectoryStep) throws(SystemError) -> Void

    /// Opens a directory that exists, and removes what a crash left unfinished.
    ///
    /// - Parameters:
    ///   - directory: Its path; later changes of the working directory do not matter.
    ///   - pool: Lends the memory that objects are read into.
    ///   - isReadOnly: Nothing in the directory is touched, and mutations are refused.
    ///   - undescribed: What is taken for granted of an object without a metadata file. Bodies are the C program's files, which
    ///     say nothing of themselves; with the metadata of an ordinary block here, only block 0 and the token need a second file.
    /// - Throws: `.noSuchBucket` when it does not exist; `.forbidden` without permission; `.noSpace`, `.io`.
    public convenience init(
        directory: String, pool: BufferPool, isReadOnly: Bool, undescribed: ObjectMetadata
    ) throws(ObjectStoreError) {
        try self.init(directory: directory, pool: pool, isReadOnly: isReadOnly, undescribed: undescribed) { _ in }
    }

    /// Opens a directory; see ``init(directory:pool:isReadOnly:undescribed:)``.
    init(
        directory: String, pool: BufferPool, isReadOnly: Bool, undescribed: ObjectMetadata,
        willStep: @escaping @Sendable (DirectoryStep) throws(SystemError) -> Void
    ) throws(ObjectStoreError) {
        self.directory = directory
        self.pool = pool
        self.isReadOnly = isReadOnly
        self.undescribed = undescribed
        self.willStep = willStep
        do throws(SystemError) {
            top = try LocalFile(directory, flags: O_RDONLY | O_DIRECTORY)
        } catch {
            throw Self.cannotOpen(directory, error)
        }
        if !isReadOnly { try sweep() }
    }

    /// Reads an object; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        guard let object = try read(key) else { return .absent }
        let eTag = object.attributes.eTag
        if let ifMatch, eTag != ifMatch { throw Self.preconditionFailed(key) }
        if let ifNoneMatch, eTag == ifNoneMatch { return .unchanged }
        guard let range else { return .object(object) }
        guard range.lowerBound < object.body.count else {
            throw ObjectStoreError(
                .unexpectedStatus, "cannot read object \"\(key)\": range starts beyond its end", outcomeIsUnknown: false)
        }
        let part = object.body.slice(range.clamped(to: 0..<object.body.count))
        return .object(Object(body: part, attributes: object.attributes))
    }

    /// Asks for attributes; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try read(key).map { .present($0.attributes) } ?? .absent
    }

    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        try write(key, body, metadata, condition)
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        for key in keys { try remove(key) }
        return Mutation(eTag: nil, isSettled: true)
    }

    /// Lists objects, without ETags; see ``ObjectStore/list(prefix:after:limit:_:)``.
    ///
    /// Each page reads all directories that its keys can be in: meant for some ten thousand objects.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try page(prefix: prefix, after: after, limit: limit)
    }

    // MARK: Reading

    /// Reads body and metadata as they were at one moment; nil when there is no such object.
    ///
    /// The two are two files: when the body has been replaced while the metadata was read, both are read again.
    func read(_ key: ObjectKey) throws(ObjectStoreError) -> Object? {
        let path = try DirectoryPath(key)
        do throws(SystemError) {
            while true {
                guard let stored = try body(path) else {
                    guard try top.status().st_nlink > 0 else { throw SystemError("open", errno: ENOENT) }
                    return nil
                }
                let body = stored.buffer
                let eTag = ETag(hexadecimal(body.withBytes { Digest.md5.hash($0) }))
                try willStep(.readMetadata(path.name))
                let metadata = try sidecar(path)?.records[eTag.text] ?? undescribed
                guard try isStill(path, stored) else { continue }
                let attributes = ObjectAttributes(size: body.count, eTag: eTag, metadata: metadata)
                return Object(body: BufferSlice(body), attributes: attributes)
            }
        } catch {
            throw failure("read object \"\(key)\"", error)
        }
    }

    /// Reads the file itself; nil when there is none.
    func body(_ path: DirectoryPath) throws(SystemError) -> StoredBody? {
        do throws(SystemError) {
            // O_NONBLOCK: the open of a pipe that somebody put there must not hang.
            let file = try LocalFile(path.file, in: top.descriptor, flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            let status = try file.status()
            if status.st_mode & S_IFMT == S_IFDIR { return nil }
            guard status.st_mode & S_IFMT == S_IFREG else { throw SystemError("open", errno: EINVAL) }
            let writer = pool.writer(count: Int(status.st_size))
            let count = try writer.withMutableBytes { bytes throws(SystemError) in try file.read(into: bytes) }
            guard count == Int(status.st_size) else { throw SystemError("read", errno: EIO) }
            return StoredBody(file: file, status: status, buffer: writer.freeze(count: count))
        } catch  where error.errno == ENOENT || error.errno == ENOTDIR {
            return nil
        }
    }

    /// Whether the object's file is still the one that was read.
    private func isStill(_ path: DirectoryPath, _ stored: borrowing StoredBody) throws(SystemError) -> Bool {
        var now = stat()
        guard fstatat(top.descriptor, path.file, &now, AT_SYMLINK_NOFOLLOW) == 0 else {
            let error = SystemError("fstatat")
            guard error.errno == ENOENT || error.errno == ENOTDIR else { throw error }
            return false
        }
        return now.st_ino == stored.status.st_ino
    }

    /// The metadata file of an object; nil when it has none.
    ///
    /// - Throws: EBADMSG when it is damaged: a volume whose geometry cannot be read must not look like one without.
    func sidecar(_ path: DirectoryPath) throws(SystemError) -> DirectorySidecar? {
        do throws(SystemError) {
            let name = path.parent + "/" + path.sidecarName
            let file = try LocalFile(name, in: top.descriptor, flags: O_RDONLY | O_NOFOLLOW)
            let size = Int(try file.status().st_size)
            let writer = pool.writer(count: size)
            let count = try writer.withMutableBytes { bytes throws(SystemError) in try file.read(into: bytes) }
            let sidecar = DirectorySidecar(BufferSlice(writer.freeze(count: count)).bytes)
            guard let sidecar else { throw SystemError("read of the metadata file", errno: EBADMSG) }
            return sidecar
        } catch  where error.errno == ENOENT || error.errno == ENAMETOOLONG {
            return nil
        }
    }

    // MARK: Errors

    /// Describes a failed system call.
    func failure(_ deed: String, _ error: SystemError, outcomeIsUnknown: Bool = false) -> ObjectStoreError {
        let code: ObjectStoreError.Code =
            switch error.errno {
            case ENOENT: .noSuchBucket
            case ENOSPC, EDQUOT: .noSpace
            case EACCES, EPERM, EROFS: .forbidden
            case ENAMETOOLONG, ENOTDIR, EISDIR, EEXIST: .badRequest
            default: .io
            }
        let hint = error.errno == ENOENT ? "the directory is gone" : "\(error.call): \(error.text)"
        return ObjectStoreError(
            code, "cannot \(deed) in directory \"\(directory)\": \(hint)", outcomeIsUnknown: outcomeIsUnknown, cause: error)
    }

    static func preconditionFailed(_ key: ObjectKey) -> ObjectStoreError {
        ObjectStoreError(.preconditionFailed, "object \"\(key)\" has another version", outcomeIsUnknown: false)
    }

    private static func cannotOpen(_ directory: String, _ error: SystemError) -> ObjectStoreError {
        let code: ObjectStoreError.Code =
            switch error.errno {
            case ENOENT, ENOTDIR: .noSuchBucket
            case EACCES, EPERM: .forbidden
            default: .io
            }
        let advice = code == .noSuchBucket ? "; make it first" : ""
        return ObjectStoreError(
            code, "cannot open directory \"\(directory)\": \(error.text.lowercased())\(advice)", outcomeIsUnknown: false,
            cause: error)
    }
}

/// A body as it was read, with its file still open: so long no other file gets its inode number.
struct StoredBody: ~Copyable {
    /// The file.
    let file: LocalFile
    /// Its attributes.
    let status: stat
    /// Its bytes.
    let buffer: Buffer
}
