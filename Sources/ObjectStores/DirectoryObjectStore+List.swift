// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
internal import Glibc

/// Lists, and the walk through the directories that they need.
extension DirectoryObjectStore {
    /// What a directory entry is.
    enum EntryKind: Hashable {
        case file
        case directory
        case other
    }

    /// A page of the objects in the order of their keys' bytes.
    ///
    /// That order is not the order of a depth-first walk (`a-b` comes before `a/b`), so all candidates are collected and sorted.
    func page(prefix: String, after: ObjectKey?, limit: Int) throws(ObjectStoreError) -> ObjectListPage {
        precondition((1...1000).contains(limit), "a page has 1 to 1000 entries")
        do throws(SystemError) {
            let keys = try keys(prefix: prefix, after: after).sorted()
            var entries: [ObjectListEntry] = []
            for key in keys.prefix(limit) {
                // One that was deleted since is left out.
                guard let size = try size(of: key) else { continue }
                entries.append(ObjectListEntry(key: key, size: size, eTag: nil))
            }
            return ObjectListPage(entries: entries, next: keys.count > limit ? keys[limit - 1] : nil)
        } catch {
            throw failure("list objects", error)
        }
    }

    private func keys(prefix: String, after: ObjectKey?) throws(SystemError) -> [ObjectKey] {
        var keys: [ObjectKey] = []
        let mayHold = { (directory: String) in
            let start = directory + "/"
            guard start.utf8.starts(with: prefix.utf8) || prefix.utf8.starts(with: start.utf8) else { return false }
            guard let after else { return true }
            return after.name.utf8.starts(with: start.utf8) || after < ObjectKey(start)
        }
        try walk(into: mayHold) { directory, name, kind throws(SystemError) in
            guard kind == .file, !DirectoryPath.isReserved(name) else { return }
            let key = ObjectKey(directory.isEmpty ? name : directory + "/" + name)
            guard key.name.utf8.starts(with: prefix.utf8), after.map({ $0 < key }) ?? true else { return }
            keys.append(key)
        }
        return keys
    }

    private func size(of key: ObjectKey) throws(SystemError) -> Int? {
        var status = stat()
        guard fstatat(top.descriptor, key.name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            let error = SystemError("fstatat")
            guard error.errno == ENOENT || error.errno == ENOTDIR else { throw error }
            return nil
        }
        return Int(status.st_size)
    }

    /// Visits every entry of every directory below the top, in no particular order.
    ///
    /// - Parameters:
    ///   - mayHold: Whether to go into a directory, named relative to the top.
    ///   - visit: Gets the directory (empty for the top), the entry's name and what it is.
    func walk(
        into mayHold: (String) -> Bool, _ visit: (String, String, EntryKind) throws(SystemError) -> Void
    ) throws(SystemError) {
        var directories = [""]
        while let directory = directories.popLast() {
            for (name, kind) in try entries(of: directory) {
                try visit(directory, name, kind)
                let path = directory.isEmpty ? name : directory + "/" + name
                if kind == .directory, mayHold(path) { directories.append(path) }
            }
        }
    }

    /// The entries of one directory; none if it has vanished meanwhile, but the top must not vanish.
    private func entries(of directory: String) throws(SystemError) -> [(String, EntryKind)] {
        let path = directory.isEmpty ? "." : directory
        do throws(SystemError) {
            let file = try LocalFile(path, in: top.descriptor, flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            if directory.isEmpty, try file.status().st_nlink == 0 { throw SystemError("open", errno: ENOENT) }
            return try file.entries().map { name, type throws(SystemError) in (name, try kind(type, path + "/" + name)) }
        } catch  where error.errno == ENOENT && !directory.isEmpty {
            return []
        }
    }

    private func kind(_ type: UInt8, _ path: String) throws(SystemError) -> EntryKind {
        switch Int(type) {
        case Int(DT_REG): return .file
        case Int(DT_DIR): return .directory
        case Int(DT_UNKNOWN):
            // Some file systems do not tell in the directory.
            var status = stat()
            guard fstatat(top.descriptor, path, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                let error = SystemError("fstatat")
                guard error.errno == ENOENT else { throw error }
                return .other
            }
            return status.st_mode & S_IFMT == S_IFREG ? .file : status.st_mode & S_IFMT == S_IFDIR ? .directory : .other
        default: return .other
        }
    }
}
