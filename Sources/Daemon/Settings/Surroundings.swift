// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Glibc

/// What a command line is read against: the process's environment, the one file that settings come from, and the terminal.
struct Surroundings {
    /// The value of an environment variable.
    var variable: (String) -> String?
    /// Reads the access file.
    var readAccessFile: (String) -> Result<[UInt8], SystemFailure>
    /// Asks whoever sits at the terminal for a password, after a prompt such as `Password: `; never an empty one.
    var askPassword: (String) throws(UserError) -> SecretBytes
    /// Who runs the process.
    var userID: UInt32
    /// The group that runs the process.
    var groupID: UInt32

    /// Those of this process.
    static var ofProcess: Surroundings {
        Surroundings(
            variable: { name in getenv(name).map { String(cString: $0) } },
            readAccessFile: { readWholeFile(path: $0, bytesMax: 1 << 20) },
            askPassword: { (prompt) throws(UserError) in try Terminal().askPassword(prompt) },
            userID: getuid(), groupID: getgid())
    }
}
