// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Volumes

/// What is done to blocks between memory and store.
struct CodecSettings: Sendable {
    /// How written blocks are compressed; nil leaves them as they are.
    let compression: Compression?
    /// How blocks are encrypted; nil neither writes nor reads encrypted blocks.
    let encryption: EncryptionSettings?
    /// What is taken for the Content-Encoding of blocks that have none; nil means plain.
    let defaultContentEncoding: ContentEncoding?
}

/// How blocks are encrypted, and where the password is to be found.
struct EncryptionSettings: Sendable {
    /// Which format.
    let scheme: EncryptionOptions.Scheme
    /// Where the password is.
    let password: PasswordSource
}

/// Where a password is to be found. It is read when it is needed, and before the process goes into the background.
enum PasswordSource: Sendable {
    /// On the command line, or in a config file.
    case given(SecretBytes)
    /// In the first line of a file.
    case file(String)
    /// In the head of whoever sits at the terminal.
    case terminal
}

extension EncryptionOptions.Scheme {
    /// What the user calls the cipher of AES-256-GCM.
    static let gcmName = "AES-256-GCM"

    /// The cipher, as headers name it.
    var cipherName: String {
        switch self {
        case .compatible(let cipher, _): cipher.canonicalName
        case .aes256GCM: Self.gcmName
        }
    }
}
