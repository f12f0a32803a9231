// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// A block cipher in CBC mode with its key, which is worked in once and not for each text.
///
/// CBC hides; it does not protect against change. Whoever decrypts authenticates the text first, or tells the world by the
/// difference between good and bad padding what the text is.
///
/// - Concurrency: safe from anywhere; callers do not wait for each other.
/// - Source: NIST SP 800-38A section 6.2; RFC 5652 section 6.3 (the padding of PKCS #7); 'man 3 EVP_EncryptInit'.
public final class CBCCipher: Sendable {
    /// The cipher.
    public let cipher: BlockCipher

    // A key schedule has a direction.
    private let encrypting: ContextPool
    private let decrypting: ContextPool

    /// Keeps the key, and has it worked in when the first text comes.
    ///
    /// - Parameter key: At least as many bytes as the cipher wants, of which the leading ones are used.
    public init(_ cipher: BlockCipher, key: SecretBytes) {
        precondition(key.count >= cipher.keyCount, "\(cipher.canonicalName) needs a key of \(cipher.keyCount) bytes")
        guard let algorithm = cipher.algorithm else {
            // `BlockCipher(named:)` gives no cipher that is missing, so only a case written in the source comes here.
            fatalError("libcrypto has no \(cipher.canonicalName); ask BlockCipher(named:) before")
        }
        self.cipher = cipher
        encrypting = Self.makePool(algorithm, key: key, isEncrypting: true)
        decrypting = Self.makePool(algorithm, key: key, isEncrypting: false)
    }

    private static func makePool(_ algorithm: CipherAlgorithm, key: SecretBytes, isEncrypting: Bool) -> ContextPool {
        ContextPool(
            making: { key.withBytes { algorithm.makeContext(key: $0, isEncrypting: isEncrypting) } },
            freeing: { EVP_CIPHER_CTX_free($0) })
    }

    /// Encrypts `source`, padded to whole blocks: by one byte at least, by a block at most.
    ///
    /// - Parameters:
    ///   - source: Any number of bytes.
    ///   - vector: At least one block, of which the leading bytes are used.
    ///   - target: At least `source.count` + `blockCount` bytes; it may start where `source` starts, and not overlap otherwise.
    /// - Returns: The bytes written.
    public func encrypt(
        _ source: UnsafeRawBufferPointer, vector: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> Int {
        let blockCount = cipher.blockCount
        precondition(target.count >= source.count + blockCount, "the target has no room for the padding")
        precondition(areSameOrApart(source, target, writing: source.count + blockCount), "source and target overlap")
        let whole = source.count / blockCount * blockCount
        let tail = UnsafeRawBufferPointer(rebasing: source[whole...])
        let last = UnsafeMutableRawBufferPointer(rebasing: target[whole..<whole + blockCount])
        // The last block is put together where it is going to stand; in place, the tail stands there already.
        last.copyMemory(from: tail)
        for index in tail.count..<blockCount { last[index] = UInt8(blockCount - tail.count) }
        withContext(encrypting, vector) { context in
            update(context, UnsafeRawBufferPointer(rebasing: source[..<whole]), into: target)
            update(context, UnsafeRawBufferPointer(last), into: last)
        }
        return whole + blockCount
    }

    /// Encrypts whole blocks as they are.
    ///
    /// - Parameters:
    ///   - source: Whole blocks.
    ///   - vector: At least one block, of which the leading bytes are used.
    ///   - target: At least as many bytes; it may start where `source` starts, and not overlap otherwise.
    public func encryptUnpadded(
        _ source: UnsafeRawBufferPointer, vector: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) {
        precondition(source.count.isMultiple(of: cipher.blockCount), "only whole blocks go without padding")
        precondition(areSameOrApart(source, target, writing: source.count), "source and target overlap")
        withContext(encrypting, vector) { update($0, source, into: target) }
    }

    /// Decrypts `source` and takes the padding off.
    ///
    /// - Parameters:
    ///   - source: What ``encrypt(_:vector:into:)`` wrote, or what somebody put in its place.
    ///   - vector: The one that it was encrypted with.
    ///   - target: At least `source.count` bytes; it may start where `source` starts, and not overlap otherwise. The padding is
    ///     written too.
    /// - Returns: The number of bytes without the padding; nil if `source` is not whole blocks, is empty, or ends in no padding.
    ///   The content of `target` has no meaning then.
    public func decrypt(
        _ source: UnsafeRawBufferPointer, vector: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> Int? {
        let blockCount = cipher.blockCount
        guard !source.isEmpty, source.count.isMultiple(of: blockCount) else { return nil }
        precondition(areSameOrApart(source, target, writing: source.count), "source and target overlap")
        withContext(decrypting, vector) { update($0, source, into: target) }
        let paddingCount = Int(target[source.count - 1])
        guard (1...blockCount).contains(paddingCount) else { return nil }
        let padding = target[(source.count - paddingCount)..<source.count]
        guard padding.allSatisfy({ Int($0) == paddingCount }) else { return nil }
        return source.count - paddingCount
    }

    private func withContext(
        _ pool: ContextPool, _ vector: UnsafeRawBufferPointer, _ body: (OpaquePointer) -> Void
    ) {
        precondition(vector.count >= cipher.blockCount, "a vector is one block")
        pool.withContext { context in
            // Without cipher and key, and in the same direction (-1), init takes the vector alone.
            let vector = vector.baseAddress?.assumingMemoryBound(to: UInt8.self)
            precondition(EVP_CipherInit_ex2(context, nil, nil, vector, -1, nil) == 1, "libcrypto cannot take a vector")
            body(context)
        }
    }
}
