// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// How a key is made from a password.
///
/// - Concurrency: safe from anywhere; the calls take long on purpose, so keep them off threads that others wait for.
public enum KeyDerivation {
    /// Derives a key with PBKDF2 and HMAC-SHA1, as the compatible encryption does.
    ///
    /// - Parameters:
    ///   - password: Any number of bytes.
    ///   - salt: Any number of bytes.
    ///   - iterations: At least 1; the time grows with it.
    ///   - count: The bytes to derive, at least 1.
    /// - Source: RFC 8018 section 5.2; 'man 3 PKCS5_PBKDF2_HMAC'.
    public static func pbkdf2SHA1(
        password: UnsafeRawBufferPointer, salt: UnsafeRawBufferPointer, iterations: Int, count: Int
    ) -> SecretBytes {
        precondition(iterations >= 1 && count >= 1, "PBKDF2 needs an iteration and a byte at least")
        return SecretBytes(count: count) { key in
            let status = PKCS5_PBKDF2_HMAC(
                password.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(password.count),
                salt.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(salt.count), Int32(iterations),
                Digest.sha1.algorithm, Int32(count), key.baseAddress?.assumingMemoryBound(to: UInt8.self))
            precondition(status == 1, "libcrypto cannot derive a key with PBKDF2: is it in FIPS mode, or memory short?")
        }
    }

    /// Derives a key with scrypt, which costs an attacker memory as well as time.
    ///
    /// - Parameters:
    ///   - password: Any number of bytes.
    ///   - salt: Any number of bytes.
    ///   - parameters: The costs; if they come from outside, look at ``ScryptParameters/memoryCount`` before.
    ///   - count: The bytes to derive, at least 1.
    /// - Returns: nil if the parameters are none that scrypt allows, or if there is not enough memory.
    /// - Source: RFC 7914; 'man 3 EVP_PBE_scrypt'.
    public static func scrypt(
        password: SecretBytes, salt: [UInt8], _ parameters: ScryptParameters, count: Int
    ) -> SecretBytes? {
        precondition(count >= 1, "scrypt derives a byte at least")
        guard let memoryCount = parameters.memoryCount else { return nil }
        var isDerived = false
        let key = SecretBytes(count: count) { key in
            isDerived = password.withBytes { password in
                EVP_PBE_scrypt(
                    password.baseAddress?.assumingMemoryBound(to: CChar.self), password.count, salt, salt.count,
                    1 << UInt64(parameters.costLog2), UInt64(parameters.blockSize), UInt64(parameters.parallelism),
                    // Libcrypto's own limit is lower than sound parameters need.
                    UInt64(memoryCount), key.baseAddress?.assumingMemoryBound(to: UInt8.self), key.count) == 1
            }
        }
        guard isDerived else {
            ERR_clear_error()  // who asks libcrypto next on this thread must not find this refusal
            return nil
        }
        return key
    }

    /// Derives a key from another key that is random already, with HKDF and SHA-256: quick, and no protection for a password.
    ///
    /// - Parameters:
    ///   - salt: Any number of bytes, no secret; none counts as 32 zeros.
    ///   - label: What the derived key is for.
    ///   - count: The bytes to derive, 1 to 255 * 32.
    /// - Source: RFC 5869, of which `label` is the `info`.
    public static func hkdfSHA256(key: SecretBytes, salt: [UInt8], label: [UInt8], count: Int) -> SecretBytes {
        let digest = Digest.sha256
        precondition((1...255 * digest.count).contains(count), "HKDF derives at most 255 times its digest")
        let extract = MAC(digest, key: salt)
        let pseudorandom = SecretBytes(count: digest.count) { target in
            key.withBytes { extract.authenticate($0, into: target) }
        }
        let expand = MAC(digest, key: pseudorandom)
        return SecretBytes(count: count) { target in
            var done = 0
            // Each piece goes into the next; secret bytes never lie in an array.
            var piece = SecretBytes(count: 0) { _ in }
            while done < count {
                let number = [UInt8(done / digest.count + 1)]
                let next = SecretBytes(count: digest.count) { next in
                    piece.withBytes { piece in
                        label.withUnsafeBytes { label in
                            number.withUnsafeBytes { expand.authenticate(piece, label, $0, into: next) }
                        }
                    }
                }
                let part = min(digest.count, count - done)
                next.withBytes { bytes in
                    UnsafeMutableRawBufferPointer(rebasing: target[done..<done + part])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<part]))
                }
                piece = next
                done += part
            }
        }
    }
}
