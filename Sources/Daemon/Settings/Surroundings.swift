// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// What a command line is read against: the process's environment, and the one file that settings come from.
struct Surroundings {
    /// The value of an environment variable.
    var variable: (String) -> String?
    /// Reads the access file.
    var readAccessFile: (String) -> Result<[UInt8], SystemFailure>
    /// Who runs the process.
    var userID: UInt32
    /// The group that runs the process.
    var groupID: UInt32

    /// Those of this process.
    static var ofProcess: Surroundings {
        Surroundings(
            variable: { name in getenv(name).map { String(cString: $0) } },
            readAccessFile: { readWholeFile(path: $0, bytesMax: 1 << 20) },
            userID: getuid(), groupID: getgid())
    }
}
