// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

extension Settings {
    /// The same settings with paths that stay right when the process leaves its working directory.
    ///
    /// - Throws: When the local store's directory is not there, or is none.
    func withAbsolutePaths() throws(UserError) -> Settings {
        switch store {
        case .directory(let path):
            return replacing(.directory(try Self.existingDirectory(path)))
        case .s3(let bucket):
            guard let file = bucket.connection.authorityFile else { return self }
            guard let absolute = Self.absolute(file), access(absolute, R_OK) == 0 else {
                throw UserError("cannot read certificate file \"\(file)\": \(SystemFailure(code: errno))")
            }
            return replacing(.s3(bucket.replacing(authorityFile: absolute)))
        }
    }

    private static func existingDirectory(_ path: String) throws(UserError) -> String {
        guard let absolute = absolute(path) else {
            throw UserError("cannot use test directory \"\(path)\": \(SystemFailure(code: errno))")
        }
        var status = stat()
        guard stat(absolute, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw UserError("cannot use test directory \"\(path)\": it is not a directory")
        }
        return absolute
    }

    private static func absolute(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
