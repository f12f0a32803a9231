// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

extension Settings {
    /// The same settings with paths that stay right when the process leaves its working directory.
    ///
    /// - Throws: When the local store's directory, or that of the statistics' copy or of the cache file, is not there, or is none;
    ///   when the file of certificates cannot be read.
    func withAbsolutePaths() throws(UserError) -> Settings {
        var settings = self
        switch store {
        case .directory(let path):
            settings.store = .directory(try Self.existingDirectory(path))
        case .s3(let bucket):
            guard let file = bucket.connection.authorityFile else { break }
            guard let absolute = Self.absolute(file), access(absolute, R_OK) == 0 else {
                throw UserError("cannot read certificate file \"\(file)\": \(SystemFailure(code: errno)); check \"--cacert\"")
            }
            settings.store = .s3(bucket.replacing(authorityFile: absolute))
        }
        if let mirror = fileSystem.statisticsMirror {
            settings.fileSystem.statisticsMirror?.path = try Self.absoluteFile(mirror.path, to: "copy the statistics to")
        }
        if let file = cache?.file { settings.cache?.file?.path = try Self.absoluteFile(file.path, to: "keep the cache in") }
        return settings
    }

    /// The file need not exist, but the directory it shall stand in must.
    private static func absoluteFile(_ path: String, to deed: String) throws(UserError) -> String {
        let slash = path.lastIndex(of: "/")
        let name = slash.map { path[path.index(after: $0)...] } ?? path[...]
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        guard let absolute = absolute(directory) else {
            throw UserError(
                "cannot \(deed) \"\(path)\": \(directory): \(SystemFailure(code: errno)); make the directory first"
            )
        }
        return (absolute == "/" ? "" : absolute) + "/" + name
    }

    private static func existingDirectory(_ path: String) throws(UserError) -> String {
        guard let absolute = absolute(path) else {
            throw UserError("cannot use test directory \"\(path)\": \(SystemFailure(code: errno)); make it first")
        }
        var status = stat()
        guard stat(absolute, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw UserError("cannot use test directory \"\(path)\": it is not a directory; name one")
        }
        return absolute
    }

    private static func absolute(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
