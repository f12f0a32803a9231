// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let compress = OptionDescription(
        name: "compress", .optionalText("ALG"), .codec, "Compress new blocks: deflate or zstd",
        default: "none; alone: deflate")
    static let compressLevel = OptionDescription(
        name: "compress-level", .text("LEVEL"), .codec, "How hard: deflate -1 ... 9, zstd -131072 ... 22",
        default: "the algorithm's")
    static let defaultContentEncoding = OptionDescription(
        name: "defaultContentEncoding", .text("ENCODING"), .codec, "Encoding of blocks that name none", default: "none")
    static let encrypt = OptionDescription(
        name: "encrypt", .optionalText("CIPHER"), .codec, "Encrypt blocks; AES-256-GCM is safest",
        default: "none; alone: AES-128-CBC")
    static let password = OptionDescription(
        name: "password", .text("PASSWORD"), .codec, "The password; better kept in passwordFile", default: "asked for",
        isSecret: true)
    static let passwordFile = OptionDescription(
        name: "passwordFile", .text("FILE"), .codec, "File whose first line is the password")
    static let newPasswordFile = OptionDescription(
        name: "newPasswordFile", .text("FILE"), .codec, "The same for the new password of --changePassword")
    static let keyLength = OptionDescription(
        name: "keyLength", .number("BYTES"), .codec, "Bytes of key that are derived, not for AES-256-GCM",
        default: "the cipher's")

    /// What is done to blocks between memory and store.
    static let codecOptions: [OptionDescription] = [
        .compress, .compressLevel, .defaultContentEncoding, .encrypt, .password, .passwordFile, .newPasswordFile, .keyLength,
    ]
}
