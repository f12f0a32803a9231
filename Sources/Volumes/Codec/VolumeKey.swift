// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// The random key of a volume that is encrypted with AES-256-GCM.
///
/// - Source: Docs/Formats/Encryption.md.
struct VolumeKey: Sendable {
    /// The bytes of an id.
    static let idCount = 16
    /// The bytes of a key.
    static let keyCount = 32

    /// Names the volume, 16 random bytes; no secret. Bound to every block.
    let id: [UInt8]
    /// 32 random bytes.
    let key: SecretBytes
}
