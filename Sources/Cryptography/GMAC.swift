// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// A fast keyed check of texts: AES-256-GMAC, that is AES-256-GCM without a text to encrypt.
///
/// Against somebody who wants to deceive it is as good as its key is secret and its nonces are not repeated. With a key that is
/// no secret it is a checksum of 128 bits, at several times the speed of a hash function.
///
/// - Concurrency: safe from anywhere; callers do not wait for each other.
/// - Source: NIST SP 800-38D section 3.
public final class GMAC: Sendable {
    /// The bytes of a nonce.
    public static let nonceCount = 12
    /// The bytes of a tag.
    public static let tagCount = 16
    /// The bytes of a key.
    public static let keyCount = 32

    /// AES-256-GCM under the key; each use brings the nonce.
    private let contexts: ContextPool

    /// Works the key in.
    ///
    /// - Parameter key: Exactly 32 bytes.
    public init(key: SecretBytes) {
        precondition(key.count == Self.keyCount, "AES-256-GMAC takes a key of \(Self.keyCount) bytes")
        guard let cipher = CipherAlgorithm.aes256GCM else {
            // Part of the default provider and of the FIPS provider.
            fatalError("libcrypto has no AES-256")
        }
        contexts = ContextPool(
            making: { key.withBytes { cipher.makeContext(key: $0, isEncrypting: true) } },
            freeing: { EVP_CIPHER_CTX_free($0) })
    }

    /// Computes the tag of two texts, one after the other as if they were one.
    ///
    /// - Parameters:
    ///   - nonce: 12 bytes.
    ///   - target: Room for 16 bytes.
    public func authenticate(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, nonce: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) {
        precondition(nonce.count == Self.nonceCount, "a nonce is \(Self.nonceCount) bytes")
        precondition(target.count == Self.tagCount, "a tag is \(Self.tagCount) bytes")
        let isDone = contexts.withContext { context in
            let nonce = nonce.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return EVP_CipherInit_ex2(context, nil, nil, nonce, 1, nil) == 1
                && take(first, context) && take(second, context) && finish(context)
                && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagCount), target.baseAddress) == 1
        }
        precondition(isDone, "libcrypto cannot compute a GMAC")
    }

    private func take(_ text: UnsafeRawBufferPointer, _ context: OpaquePointer) -> Bool {
        guard !text.isEmpty else { return true }
        var taken: Int32 = 0
        let start = text.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return EVP_CipherUpdate(context, nil, &taken, start, Int32(text.count)) == 1
    }

    private func finish(_ context: OpaquePointer) -> Bool {
        // There is no text to end, but the address of a block is asked for.
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.tagCount) { rest in
            var written: Int32 = 0
            return EVP_CipherFinal_ex(context, rest.baseAddress, &written) == 1
        }
    }
}
