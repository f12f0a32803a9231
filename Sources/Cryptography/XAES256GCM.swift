// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// Authenticated encryption with a nonce so long that it may be random: XAES-256-GCM.
///
///     nonce, 24 bytes:  | 0 ..< 12                        | 12 ..< 24               |
///                         with the key: a key of this one   the nonce of AES-256-GCM
///                         text
///
/// AES-GCM alone must not meet 2^32 random nonces under one key. Here a fresh key is derived from the key and the first half of the
/// nonce, so that 2^80 texts may be sealed before two of them share key and nonce with a chance of 2^-32.
///
/// - Concurrency: safe from anywhere; callers do not wait for each other.
/// - Source: C2SP XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>); NIST SP 800-108r1 (the derivation, with CMAC), NIST SP 800-38D.
public final class XAES256GCM: Sendable {
    /// The bytes of a nonce.
    public static let nonceCount = 24
    /// The bytes of a tag.
    public static let tagCount = 16
    /// The bytes of a key.
    public static let keyCount = 32

    private static let blockCount = 16
    private static let nonceHalfCount = 12

    /// The subkey K1 of CMAC, one block.
    private let blend: SecretBytes
    /// AES-256 under the key, block by block.
    private let deriving: ContextPool
    /// AES-256-GCM; each use brings key and nonce, so a context serves both directions.
    private let working: ContextPool

    /// Works the key in.
    ///
    /// - Parameter key: Exactly 32 bytes.
    public init(key: SecretBytes) {
        precondition(key.count == Self.keyCount, "XAES-256-GCM takes a key of \(Self.keyCount) bytes")
        guard let block = CipherAlgorithm.aes256ECB, let gcm = CipherAlgorithm.aes256GCM else {
            // Part of the default provider and of the FIPS provider.
            fatalError("libcrypto has no AES-256")
        }
        deriving = ContextPool(
            making: { key.withBytes { block.makeContext(key: $0, isEncrypting: true) } },
            freeing: { EVP_CIPHER_CTX_free($0) })
        working = ContextPool(
            making: { gcm.makeContext(key: nil, isEncrypting: true) },
            freeing: { EVP_CIPHER_CTX_free($0) })
        blend = Self.makeBlend(deriving)
    }

    /// Encrypts `plain` in place and makes its tag; see ``seal(_:nonce:additionalData:into:tag:)``.
    public func seal(
        _ plain: UnsafeMutableRawBufferPointer, nonce: UnsafeRawBufferPointer, additionalData: UnsafeRawBufferPointer,
        tag: UnsafeMutableRawBufferPointer
    ) {
        seal(UnsafeRawBufferPointer(plain), nonce: nonce, additionalData: additionalData, into: plain, tag: tag)
    }

    /// Encrypts `plain` and makes its tag.
    ///
    /// - Parameters:
    ///   - plain: Any number of bytes below 2^36.
    ///   - nonce: 24 bytes, never used before with this key; random ones are good.
    ///   - additionalData: What the tag protects beside the text; may be empty.
    ///   - target: At least as many bytes as `plain`; it may start where `plain` starts, and not overlap otherwise.
    ///   - tag: Room for 16 bytes.
    public func seal(
        _ plain: UnsafeRawBufferPointer, nonce: UnsafeRawBufferPointer, additionalData: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer, tag: UnsafeMutableRawBufferPointer
    ) {
        precondition(tag.count == Self.tagCount, "a tag is \(Self.tagCount) bytes")
        precondition(areSameOrApart(plain, target, writing: plain.count), "source and target overlap")
        working.withContext { context in
            start(context, isEncrypting: true, nonce: nonce, additionalData: additionalData)
            update(context, plain, into: target)
            precondition(finish(context), "libcrypto cannot finish a sealing")
            let status = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagCount), tag.baseAddress)
            precondition(status == 1, "libcrypto cannot tell a tag")
        }
    }

    /// Decrypts `sealed` if it is authentic.
    ///
    /// - Parameters:
    ///   - sealed: What ``seal(_:nonce:additionalData:tag:)`` left, or what somebody put in its place.
    ///   - nonce: The 24 bytes it was sealed with.
    ///   - additionalData: The same as then.
    ///   - tag: The 16 bytes it got.
    ///   - target: At least as many bytes as `sealed`; it may start where `sealed` starts, and not overlap otherwise.
    /// - Returns: Whether all of it is as it was sealed. If not, the part of `target` that was written is zeros.
    public func open(
        _ sealed: UnsafeRawBufferPointer, nonce: UnsafeRawBufferPointer, additionalData: UnsafeRawBufferPointer,
        tag: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        precondition(tag.count == Self.tagCount, "a tag is \(Self.tagCount) bytes")
        precondition(areSameOrApart(sealed, target, writing: sealed.count), "source and target overlap")
        let isAuthentic = working.withContext { context in
            start(context, isEncrypting: false, nonce: nonce, additionalData: additionalData)
            update(context, sealed, into: target)
            // The parameter is `void *` because the same call also tells a tag; this use only reads.
            let expected = UnsafeMutableRawPointer(mutating: tag.baseAddress)
            let status = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagCount), expected)
            precondition(status == 1, "libcrypto cannot take a tag")
            return finish(context)
        }
        if !isAuthentic {
            ERR_clear_error()  // as after a cipher that is missing: nobody else's business
            OPENSSL_cleanse(target.baseAddress, sealed.count)
        }
        return isAuthentic
    }

    private func start(
        _ context: OpaquePointer, isEncrypting: Bool, nonce: UnsafeRawBufferPointer, additionalData: UnsafeRawBufferPointer
    ) {
        precondition(nonce.count == Self.nonceCount, "a nonce is \(Self.nonceCount) bytes")
        let gcmNonce = nonce.baseAddress?.assumingMemoryBound(to: UInt8.self).advanced(by: Self.nonceHalfCount)
        let status = withDerivedKey(nonce) { key in
            EVP_CipherInit_ex2(
                context, nil, key.baseAddress?.assumingMemoryBound(to: UInt8.self), gcmNonce, isEncrypting ? 1 : 0, nil)
        }
        precondition(status == 1, "libcrypto cannot take key and nonce")
        guard !additionalData.isEmpty else { return }
        var taken: Int32 = 0
        let isTaken =
            EVP_CipherUpdate(
                context, nil, &taken, additionalData.baseAddress?.assumingMemoryBound(to: UInt8.self),
                Int32(additionalData.count)) == 1
        precondition(isTaken, "libcrypto cannot take additional data")
    }

    /// Ends a text; false if it was to be opened and its tag is not the one set.
    private func finish(_ context: OpaquePointer) -> Bool {
        // GCM has nothing left to write, but the address of a block is asked for.
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.blockCount) { rest in
            var written: Int32 = 0
            return EVP_CipherFinal_ex(context, rest.baseAddress, &written) == 1
        }
    }

    /// Calls `body` with the key of one nonce, and wipes it afterwards; the context that took it keeps its schedule until the next
    /// use, or wipes it when it is freed.
    private func withDerivedKey(_ nonce: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Int32) -> Int32 {
        withUnsafeTemporaryAllocation(byteCount: 2 * Self.blockCount, alignment: Self.blockCount) { key in
            defer { OPENSSL_cleanse(key.baseAddress, key.count) }
            blend.withBytes { blend in
                for counter in 0..<2 {
                    let block = UnsafeMutableRawBufferPointer(
                        rebasing: key[(counter * Self.blockCount)...].prefix(Self.blockCount))
                    block[0] = 0
                    block[1] = UInt8(counter + 1)
                    block[2] = UInt8(ascii: "X")
                    block[3] = 0
                    for index in 0..<Self.nonceHalfCount { block[4 + index] = nonce[index] }
                    for index in 0..<Self.blockCount { block[index] ^= blend[index] }
                }
            }
            deriving.withContext { update($0, UnsafeRawBufferPointer(key), into: key) }
            return body(UnsafeRawBufferPointer(key))
        }
    }

    /// The encrypted block of zeros, doubled in GF(2^128).
    ///
    /// - Source: NIST SP 800-38B section 6.1.
    private static func makeBlend(_ deriving: ContextPool) -> SecretBytes {
        SecretBytes(count: blockCount) { block in
            deriving.withContext { update($0, UnsafeRawBufferPointer(block), into: block) }
            let reduction: UInt8 = block[0] & 0x80 == 0 ? 0 : 0x87
            for index in 0..<blockCount {
                let next = index + 1 < blockCount ? block[index + 1] >> 7 : 0
                block[index] = block[index] << 1 | next
            }
            block[blockCount - 1] ^= reduction
        }
    }
}
