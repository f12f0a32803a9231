// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// A hash function without a key.
///
/// - Concurrency: safe from anywhere; the algorithm is fetched from libcrypto once.
/// - Source: RFC 1321 (MD5), FIPS 180-4 (SHA-1, SHA-256); 'man 3 EVP_Digest'.
public enum Digest: Sendable, CaseIterable {
    /// 16 bytes; what S3 calls ETag and Content-MD5. No protection against an adversary.
    case md5
    /// 20 bytes.
    case sha1
    /// 32 bytes.
    case sha256

    /// The bytes of a digest.
    public var count: Int {
        switch self {
        case .md5: 16
        case .sha1: 20
        case .sha256: 32
        }
    }

    /// Hashes `bytes`.
    ///
    /// - Returns: ``count`` bytes.
    public func hash(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { output, outputCount in
            var written: UInt32 = 0
            let status = EVP_Digest(
                bytes.baseAddress ?? Self.nowhere, bytes.count, output.baseAddress, &written, algorithm, nil)
            precondition(status == 1 && Int(written) == count, "libcrypto cannot hash: is it in FIPS mode without MD5?")
            outputCount = count
        }
    }

    /// Hashes `bytes`; see ``hash(_:)-(UnsafeRawBufferPointer)``.
    public func hash(_ bytes: [UInt8]) -> [UInt8] { bytes.withUnsafeBytes { hash($0) } }

    /// Hashes the UTF-8 bytes of `text`.
    public func hash(_ text: String) -> [UInt8] {
        var text = text
        return text.withUTF8 { hash(UnsafeRawBufferPointer($0)) }
    }

    /// Libcrypto's implementation.
    var algorithm: OpaquePointer? {
        switch self {
        case .md5: Self.algorithms.md5
        case .sha1: Self.algorithms.sha1
        case .sha256: Self.algorithms.sha256
        }
    }

    // Proof for @unchecked: fetched algorithms are immutable and reference counted by libcrypto ('man 7 ossl-guide-
    // threads-introduction'); the constants are made once and never freed.
    private struct Algorithms: @unchecked Sendable {
        let md5 = EVP_MD_fetch(nil, "MD5", nil)
        let sha1 = EVP_MD_fetch(nil, "SHA1", nil)
        let sha256 = EVP_MD_fetch(nil, "SHA256", nil)
    }
    private static let algorithms = Algorithms()
    /// EVP_Digest wants a pointer even for no bytes.
    private static var nowhere: UnsafeRawPointer { UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped }
}
