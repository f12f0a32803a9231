// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let accessFile = OptionDescription(
        name: "accessFile", .text("FILE"), .credentials, "File with lines ID:SECRET", default: "$HOME/.s3backer_passwd")
    static let accessId = OptionDescription(
        name: "accessId", .text("ID"), .credentials, "S3 access key id; empty means anonymous",
        default: "the first in accessFile")
    static let accessKey = OptionDescription(
        name: "accessKey", .text("SECRET"), .credentials, "S3 secret access key; better kept in accessFile",
        default: "from accessFile", isSecret: true)
    static let accessKeyEnv = OptionDescription(
        name: "accessKeyEnv", .text("NAME"), .credentials, "Environment variable that holds the secret access key")

    /// Whose requests they are.
    static let credentialsOptions: [OptionDescription] = [
        .accessFile, .accessId, .accessKey, .accessKeyEnv,
    ]
}
