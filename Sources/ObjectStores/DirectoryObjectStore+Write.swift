// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Cryptography
import DataPath
internal import Glibc
internal import Synchronization

/// A step at which tests look on, or step in: the system calls that change the disk, and the gap within a read.
enum DirectoryStep: Hashable, Sendable {
    case makeDirectory(String)
    /// Create, write and fsync of an unfinished file: one step, since nobody can see the file in between.
    case writeTemporary
    case rename(to: String)
    case unlink(String)
    /// fsync of a directory.
    case sync(String)
    /// A read has the body, and goes on to the metadata.
    case readMetadata(String)
}

/// Mutations: everything that changes the disk.
///
/// Each holds the lock of its key from beginning to end, so that a condition, the metadata and the body belong together also when
/// two processes share the directory, and nobody sweeps away the temporary file of somebody alive.
extension DirectoryObjectStore {
    /// An errno of our own: the condition of a put does not hold.
    private static let conditionFailed: Int32 = -1
    /// An errno of our own: a test stops the mutation here. Nothing is tidied up then, as after a crash.
    static let crashed: Int32 = -2

    /// Writes an object; the order of steps is at the top of DirectoryObjectStore.swift.
    func write(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition
    ) throws(ObjectStoreError) -> Mutation {
        let path = try DirectoryPath(key)
        try refuseIfReadOnly("write object \"\(key)\"")
        let eTag = ETag(hexadecimal(body.withBytes { Digest.md5.hash($0) }))
        var isBegun = false
        do throws(SystemError) {
            let lock = try self.lock(path)
            defer { withExtendedLifetime(lock) {} }
            guard try holds(condition, path) else { throw SystemError("condition", errno: Self.conditionFailed) }
            try makeParents(of: path)
            let parent = try LocalFile(path.parent, in: top.descriptor, flags: O_RDONLY | O_DIRECTORY)
            let isDescribed = try writeSidecar(path, metadata, eTag, in: parent, &isBegun)
            try body.withBytes { bytes throws(SystemError) in try replace(path.name, with: bytes, in: parent) }
            isBegun = true
            try sync(parent, path.parent)
            if isDescribed, metadata == undescribed { try unlink(path.sidecarName, in: parent) }
        } catch {
            if error.errno == Self.conditionFailed { throw Self.preconditionFailed(key) }
            throw failure("write object \"\(key)\"", error, outcomeIsUnknown: isBegun)
        }
        return Mutation(eTag: eTag, isSettled: true)
    }

    /// Deletes an object.
    ///
    /// The directory is synced also when there is no such file: an earlier delete may have been stopped before it did.
    func remove(_ key: ObjectKey) throws(ObjectStoreError) {
        let path = try DirectoryPath(key)
        try refuseIfReadOnly("delete object \"\(key)\"")
        var isGone = false
        do throws(SystemError) {
            let lock = try self.lock(path)
            defer { withExtendedLifetime(lock) {} }
            guard let parent = try existingParent(of: path) else { return }
            do throws(SystemError) {
                try unlink(path.name, in: parent)
            } catch  where error.errno == EISDIR {
                // A directory of other objects; an object of this name does not exist.
            }
            isGone = true
            try sync(parent, path.parent)
            do throws(SystemError) {
                try unlink(path.sidecarName, in: parent)
            } catch  where error.errno == ENAMETOOLONG {
                // A name that leaves no room for the prefix never had metadata.
            }
        } catch {
            throw failure("delete object \"\(key)\"", error, outcomeIsUnknown: isGone)
        }
    }

    /// Removes the files that a crash left unfinished, unless somebody is writing just now.
    func sweep() throws(ObjectStoreError) {
        do throws(SystemError) {
            let lock = try LocalFile(DirectoryPath.lockName, in: top.descriptor, flags: O_RDWR | O_CREAT, mode: 0o666)
            defer { withExtendedLifetime(lock) {} }
            guard try lock.lock(byte: 0, count: 0, mayWait: false) else { return }
            try walk(into: { _ in true }) { directory, name, _ throws(SystemError) in
                guard DirectoryPath.isTemporary(name) else { return }
                let file = directory.isEmpty ? name : directory + "/" + name
                try change(.unlink(file), "unlinkat") { unlinkat(top.descriptor, file, 0) }
            }
        } catch {
            throw failure("remove unfinished files", error)
        }
    }

    // MARK: Steps

    private func refuseIfReadOnly(_ deed: String) throws(ObjectStoreError) {
        guard isReadOnly else { return }
        throw ObjectStoreError(
            .forbidden, "cannot \(deed) in directory \"\(directory)\": it was opened read-only", outcomeIsUnknown: false)
    }

    /// Locks the object for one mutation, against all processes; the lock ends with the file that is returned.
    private func lock(_ path: DirectoryPath) throws(SystemError) -> LocalFile {
        let file = try LocalFile(DirectoryPath.lockName, in: top.descriptor, flags: O_RDWR | O_CREAT, mode: 0o666)
        _ = try file.lock(byte: path.lockByte, count: 1, mayWait: true)
        return file
    }

    private func holds(_ condition: PutCondition, _ path: DirectoryPath) throws(SystemError) -> Bool {
        switch condition {
        case .none: true
        case .ifAbsent: try currentETag(path) == nil
        case .ifMatch(let expected): try currentETag(path) == expected.text
        }
    }

    /// The MD5 of the body that is there; nil when there is none.
    private func currentETag(_ path: DirectoryPath) throws(SystemError) -> String? {
        guard let stored = try body(path) else { return nil }
        return hexadecimal(stored.buffer.withBytes { Digest.md5.hash($0) })
    }

    /// Makes the directories on the way to an object, durably.
    private func makeParents(of path: DirectoryPath) throws(SystemError) {
        var above = "."
        for index in path.parents.indices {
            let directory = path.parents[...index].joined(separator: "/")
            var isNew = true
            do throws(SystemError) {
                try change(.makeDirectory(directory), "mkdirat") { mkdirat(top.descriptor, directory, 0o777) }
            } catch  where error.errno == EEXIST {
                isNew = false
            }
            // One that exists may be younger than the last crash of its maker: synced once in the life of this process.
            if isNew || !durableParents.withLock({ $0.contains(directory) }) {
                try sync(LocalFile(above, in: top.descriptor, flags: O_RDONLY | O_DIRECTORY), above)
                durableParents.withLock { known in
                    if known.count >= 1024 { known.removeAll() }
                    known.insert(directory)
                }
            }
            above = directory
        }
    }

    private func existingParent(of path: DirectoryPath) throws(SystemError) -> LocalFile? {
        do throws(SystemError) {
            return try LocalFile(path.parent, in: top.descriptor, flags: O_RDONLY | O_DIRECTORY)
        } catch  where error.errno == ENOENT || error.errno == ENOTDIR {
            guard try top.status().st_nlink > 0 else { throw error }
            return nil
        }
    }

    /// Writes, durably, what is to be known about the body that is there and the one that will be.
    ///
    /// - Parameter isBegun: Set when the object is about to change: with the same body again, this is the whole change.
    /// - Returns: Whether the object has a metadata file; false when neither body needs one.
    private func writeSidecar(
        _ path: DirectoryPath, _ metadata: ObjectMetadata, _ eTag: ETag, in parent: borrowing LocalFile,
        _ isBegun: inout Bool
    ) throws(SystemError) -> Bool {
        var old: DirectorySidecar?
        do throws(SystemError) {
            old = try sidecar(path)
        } catch  where error.errno == EBADMSG {
            // What it said is lost already; this put replaces it.
            old = DirectorySidecar()
        }
        guard old != nil || metadata != undescribed else { return false }
        var new = DirectorySidecar()
        let current = try currentETag(path)
        if let current { new.records[current] = old?.records[current] ?? undescribed }
        new.records[eTag.text] = metadata
        isBegun = current == eTag.text
        if new != old {
            try Buffer(copying: new.encoded).withBytes { bytes throws(SystemError) in
                try replace(path.sidecarName, with: bytes, in: parent)
            }
        }
        // Also when nothing changed: whoever wrote it may have been stopped before this.
        try sync(parent, path.parent)
        return true
    }

    /// Puts a new file, with durable content, in the place of `name`.
    private func replace(
        _ name: String, with bytes: UnsafeRawBufferPointer, in parent: borrowing LocalFile
    ) throws(SystemError) {
        let temporary = DirectoryPath.temporaryName()
        do throws(SystemError) {
            try willStep(.writeTemporary)
            let file = try LocalFile(
                temporary, in: parent.descriptor, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o666)
            try file.write(bytes)
            try file.sync()
            let directory = parent.descriptor
            try change(.rename(to: name), "renameat") { renameat(directory, temporary, directory, name) }
        } catch {
            // Best effort on the way out: the error that is thrown is the one to know, and the next start sweeps.
            if error.errno != Self.crashed { _ = unlinkat(parent.descriptor, temporary, 0) }
            throw error
        }
    }

    /// Unlinks `name`; if it does not exist, that is as well.
    private func unlink(_ name: String, in parent: borrowing LocalFile) throws(SystemError) {
        let directory = parent.descriptor
        do throws(SystemError) {
            try change(.unlink(name), "unlinkat") { unlinkat(directory, name, 0) }
        } catch  where error.errno == ENOENT {
        }
    }

    private func sync(_ directory: borrowing LocalFile, _ name: String) throws(SystemError) {
        try willStep(.sync(name))
        try directory.sync()
    }

    private func change(_ change: DirectoryStep, _ call: String, _ body: () -> Int32) throws(SystemError) {
        try willStep(change)
        _ = try LocalFile.repeating(call, body)
    }
}
