// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// A cipher of libcrypto, fetched once: each search by name costs more than the encryption of a small block.
///
/// - Concurrency: safe from anywhere.
/// - Source: 'man 3 EVP_CIPHER_fetch'.
// Proof for @unchecked: a fetched algorithm is immutable and counted by libcrypto ('man 7 openssl-threads'); the values are the
// constants below and in BlockCipher, which live as long as the process.
struct CipherAlgorithm: @unchecked Sendable {
    private let pointer: OpaquePointer

    /// Fetches a cipher.
    ///
    /// - Returns: nil when no provider that is loaded has it (FIPS mode, the legacy provider's ciphers).
    init?(_ name: String) {
        guard let pointer = EVP_CIPHER_fetch(nil, name, nil) else {
            ERR_clear_error()  // who asks libcrypto next on this thread, perhaps for TLS, must not find this refusal
            return nil
        }
        self.pointer = pointer
    }

    /// A new context that encrypts or decrypts whole blocks, without padding.
    ///
    /// - Parameter key: As many bytes as the cipher wants, or more; nil if each use brings its own.
    func makeContext(key: UnsafeRawBufferPointer?, isEncrypting: Bool) -> OpaquePointer {
        // As every allocation of Swift does; no caller could go on without.
        guard let context = EVP_CIPHER_CTX_new() else { fatalError("out of memory: a cipher context") }
        precondition(key.map { $0.count >= Int(EVP_CIPHER_get_key_length(pointer)) } ?? true, "the key is too short")
        let key = key?.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let status = EVP_CipherInit_ex2(context, pointer, key, nil, isEncrypting ? 1 : 0, nil)
        precondition(status == 1, "libcrypto cannot take the key of a cipher")
        // A stream has no padding; and a context that is told so tells it again, at some cost, with each key.
        if EVP_CIPHER_get_block_size(pointer) > 1 { EVP_CIPHER_CTX_set_padding(context, 0) }
        return context
    }

    /// AES-256 on single blocks.
    static let aes256ECB = CipherAlgorithm("AES-256-ECB")
    /// AES-256 in Galois/counter mode.
    static let aes256GCM = CipherAlgorithm("AES-256-GCM")
}

/// Encrypts or decrypts `source` with a context that has key and vector.
///
/// - Parameters:
///   - source: Any number of bytes; for a cipher in CBC or ECB mode whole blocks.
///   - target: At least as many bytes; either at the same address or without overlap.
func update(_ context: OpaquePointer, _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) {
    precondition(target.count >= source.count, "the target of a cipher is too small")
    var done = 0
    while done < source.count {
        // libcrypto counts in 32 bits.
        let count = min(source.count - done, 1 << 30)
        let input = source.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let output = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var written: Int32 = 0
        let status = EVP_CipherUpdate(context, output.map { $0 + done }, &written, input.map { $0 + done }, Int32(count))
        precondition(status == 1 && Int(written) == count, "libcrypto cannot encrypt or decrypt")
        done += count
    }
}

/// True if a cipher may read `source` and write `count` bytes of `target`: in place, or apart.
func areSameOrApart(
    _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, writing count: Int
) -> Bool {
    guard let from = source.baseAddress, let into = target.baseAddress.map({ UnsafeRawPointer($0) }) else { return true }
    return from == into || from + source.count <= into || into + count <= from
}
