// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A block cipher in CBC mode, as the compatible encryption uses it.
///
/// - Source: NIST SP 800-38A (CBC), FIPS 197 (AES), NIST SP 800-67 (DES-EDE3), RFC 5794 (ARIA); 'man 7 OSSL_PROVIDER-default'.
public enum BlockCipher: String, Sendable, CaseIterable {
    /// AES with a key of 16 bytes.
    case aes128CBC = "AES-128-CBC"
    /// AES with a key of 24 bytes.
    case aes192CBC = "AES-192-CBC"
    /// AES with a key of 32 bytes.
    case aes256CBC = "AES-256-CBC"
    /// Triple DES with three keys.
    case desEDE3CBC = "DES-EDE3-CBC"
    /// ARIA with a key of 16 bytes.
    case aria128CBC = "ARIA-128-CBC"
    /// ARIA with a key of 24 bytes.
    case aria192CBC = "ARIA-192-CBC"
    /// ARIA with a key of 32 bytes.
    case aria256CBC = "ARIA-256-CBC"

    /// Finds a cipher by a name that libcrypto knows: the canonical one, an alias such as `aes256` or `des3`, or the dotted object
    /// identifier; in any case of letters.
    ///
    /// - Returns: nil if the name is nobody's, if the cipher is none of those above (another mode, Camellia, Blowfish), and if
    ///   this computer's libcrypto does not offer it (FIPS mode).
    /// - Source: 'man 1 openssl-enc'; 'man 3 EVP_get_cipherbyname'; RFC 3565 section 4 and RFC 5794 section 3.1 (identifiers).
    public init?(named name: String) {
        let name = name.lowercased()
        guard let cipher = Self.allCases.first(where: { $0.rawValue.lowercased() == name || $0.aliases.contains(name) }),
            cipher.algorithm != nil
        else { return nil }
        self = cipher
    }

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

    /// Libcrypto's other names, in lower case.
    private var aliases: [String] {
        switch self {
        case .aes128CBC: ["aes128", "2.16.840.1.101.3.4.1.2"]
        case .aes192CBC: ["aes192", "2.16.840.1.101.3.4.1.22"]
        case .aes256CBC: ["aes256", "2.16.840.1.101.3.4.1.42"]
        case .desEDE3CBC: ["des3", "1.2.840.113549.3.7"]
        case .aria128CBC: ["aria128", "1.2.410.200046.1.1.2"]
        case .aria192CBC: ["aria192", "1.2.410.200046.1.1.7"]
        case .aria256CBC: ["aria256", "1.2.410.200046.1.1.12"]
        }
    }

    /// Libcrypto's implementation; nil if it has none.
    var algorithm: CipherAlgorithm? { Self.algorithms[self] }

    private static let algorithms = Dictionary(
        uniqueKeysWithValues: allCases.compactMap { cipher in CipherAlgorithm(cipher.rawValue).map { (cipher, $0) } })
}
