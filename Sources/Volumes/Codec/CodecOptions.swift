// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import Cryptography

/// What the user wants done to blocks between memory and store.
public struct CodecOptions: Sendable {
    /// How blocks are compressed; nil writes them as they are.
    public var compression: Compression?
    /// How blocks are encrypted; nil neither writes nor reads encrypted objects.
    public var encryption: EncryptionOptions?
    /// What is taken for the Content-Encoding of a block's object that has none (`--defaultContentEncoding`); nil means plain.
    public var defaultContentEncoding: ContentEncoding?
    /// Where blocks are encoded and decoded; nil for the executor of the caller.
    public var computing: (any TaskExecutor)?

    /// Makes options; every one is said at the call.
    public init(
        compression: Compression?, encryption: EncryptionOptions?, defaultContentEncoding: ContentEncoding?
    ) {
        self.compression = compression
        self.encryption = encryption
        self.defaultContentEncoding = defaultContentEncoding
    }

    /// Blocks are stored as they are.
    public static let plain = CodecOptions(compression: nil, encryption: nil, defaultContentEncoding: nil)
}

/// How blocks are encrypted, and by whose word.
public struct EncryptionOptions: Sendable {
    /// Which format.
    public enum Scheme: Hashable, Sendable {
        /// The C program's: CBC, a fixed vector per block, HMAC-SHA1. `keyCount` bytes of key are derived; nil means the
        /// cipher's own count. The salt is `BUCKET/PREFIX`.
        case compatible(BlockCipher, keyCount: Int?)
        /// AES-256-GCM with a random volume key; see Docs/Formats/Encryption.md.
        case aes256GCM
    }

    /// Which format.
    public var scheme: Scheme
    /// The password's bytes.
    public var password: SecretBytes
    /// What the compatible scheme derives its key with, beside the password: `BUCKET/PREFIX`.
    public var salt: String

    /// Makes options.
    public init(scheme: Scheme, password: SecretBytes, salt: String) {
        self.scheme = scheme
        self.password = password
        self.salt = salt
    }
}
