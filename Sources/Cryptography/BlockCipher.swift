// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A block cipher in CBC mode, as the compatible encryption uses it.
///
/// - Source: NIST SP 800-38A (CBC), FIPS 197 (AES), NIST SP 800-67 (DES-EDE3), RFC 5794 (ARIA); 'man 7 OSSL_PROVIDER-default'.
public enum BlockCipher: String, Sendable, CaseIterable {
    case aes128CBC = "AES-128-CBC"
    case aes192CBC = "AES-192-CBC"
    case aes256CBC = "AES-256-CBC"
    case desEDE3CBC = "DES-EDE3-CBC"
    case aria128CBC = "ARIA-128-CBC"
    case aria192CBC = "ARIA-192-CBC"
    case aria256CBC = "ARIA-256-CBC"

    /// The name in headers and in the HMAC: OpenSSL's canonical short name.
    public var canonicalName: String { rawValue }

    /// The bytes of a key.
    public var keyCount: Int {
        switch self {
        case .aes128CBC, .aria128CBC: 16
        case .aes192CBC, .aria192CBC, .desEDE3CBC: 24
        case .aes256CBC, .aria256CBC: 32
        }
    }

    /// The bytes of a block, and of an initialisation vector.
    public var blockCount: Int { self == .desEDE3CBC ? 8 : 16 }
}
