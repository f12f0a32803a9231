// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Why an object's bytes cannot be turned into a block.
struct CodecError: Error {
    /// What kind of failure it is.
    enum Kind: Hashable, Sendable {
        /// An element of Content-Encoding is not known, or stands where it cannot.
        case unknownEncoding
        /// The object is encrypted and no password was given, or it is encrypted in another way than the one configured.
        case otherEncryption
        /// The object is not encrypted, or lacks its HMAC, although encryption is configured.
        case notEncrypted
        /// The authentication fails: another password, another block or volume, or changed bytes.
        case notAuthentic
        /// The bytes are not what their encoding says, or too many, or too few.
        case damaged
    }

    /// What kind of failure it is.
    let kind: Kind
    /// The cause, in words that complete "cannot read block 00000003 (object "x"): ...".
    let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
}
