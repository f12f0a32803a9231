// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography

@testable import Daemon

/// Surroundings without a machine: one access file at its default place, one environment variable.
func surroundings(
    accessFile: String? = "AKID:default-secret\n", variables: [String: String] = [:],
    askPassword: @escaping (String) throws(UserError) -> SecretBytes = { _ throws(UserError) in throw UserError("nobody is asked")
    }
) -> Surroundings {
    let variables = ["HOME": "/home/u"].merging(variables) { _, new in new }
    return Surroundings(
        variable: { variables[$0] },
        readAccessFile: { path in
            guard let accessFile, path == "/home/u/.s3backer_passwd" || path == "keys" else {
                return .failure(SystemFailure(code: 2))
            }
            return .success(Array(accessFile.utf8))
        }, askPassword: askPassword, userID: 7, groupID: 8)
}

/// The settings of a command line.
func settings(_ arguments: String..., in around: Surroundings = surroundings()) throws(UserError) -> Settings {
    try Settings(try CommandLineReader.read(arguments), in: around)
}

/// The line that the user gets for a command line that contradicts itself.
func failure(_ arguments: [String], in around: Surroundings = surroundings()) -> String? {
    do {
        _ = try Settings(try CommandLineReader.read(arguments), in: around)
        return nil
    } catch { return error.message }
}
