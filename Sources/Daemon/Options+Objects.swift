// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let prefix = OptionDescription(
        name: "prefix", .text("STRING"), .objects, "In front of every object name", default: "empty")
    static let blockHashPrefix = OptionDescription(
        name: "blockHashPrefix", .flag, .objects, "Put a hash in front of block names, to spread them")
    static let storageClass = OptionDescription(
        name: "storageClass", .text("CLASS"), .objects, "Storage class of new objects", default: "the bucket's")
    static let accessType = OptionDescription(
        name: "accessType", .text("ACL"), .objects, "ACL of new objects", default: "private")
    static let authVersion = OptionDescription(
        name: "authVersion", .text("VERSION"), .objects, "How requests are signed: aws2 or aws4", default: "aws4")
    static let sse = OptionDescription(
        name: "sse", .text("TYPE"), .objects, "Encryption at the server: AES256 or aws:kms")
    static let sseKeyID = OptionDescription(
        name: "sse-key-id", .text("ID"), .objects, "Key for --sse=aws:kms")

    /// What the objects are called and how they are stored.
    static let objectsOptions: [OptionDescription] = [
        .prefix, .blockHashPrefix, .storageClass, .accessType, .authVersion, .sse, .sseKeyID,
    ]
}
