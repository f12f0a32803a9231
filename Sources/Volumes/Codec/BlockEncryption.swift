// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Cryptography
internal import DataPath
internal import ObjectStores

/// A way of encrypting and authenticating the stored form of a block.
///
/// - Concurrency: safe from anywhere, and in parallel.
protocol BlockEncryption: Sendable {
    /// Its element of Content-Encoding: `encrypt-AES-128-CBC`.
    var encodingName: String { get }
    /// Whether the bytes are always compressed first, as the C program does.
    var requiresCompression: Bool { get }
    /// Bytes that the encrypted form has in front of the encrypted bytes. Plain bytes that stand so far from the start of the
    /// memory are encrypted in place.
    var headCount: Int { get }
    /// Bytes that the encrypted form has more than `headCount` and the plain bytes, at most.
    var tailCountMax: Int { get }

    /// Whether an element of Content-Encoding is this encryption, spelt as a writer spells it: any other spelling means that
    /// somebody has changed the header.
    func isNamed(_ element: String) -> Bool

    /// Derives a key for another use from the one of the blocks, with HKDF and SHA-256: 32 bytes.
    ///
    /// - Parameter label: What it is for; another label gives another key, and none tells anything about the key of the blocks.
    func derivedKey(for label: String) -> SecretBytes

    /// Encrypts and authenticates.
    ///
    /// - Parameters:
    ///   - plain: The bytes; `headCount` bytes from the start of `target`, or in other memory.
    ///   - target: At least `headCount + plain.count + tailCountMax` bytes.
    ///   - encoding: The whole Content-Encoding of the result.
    /// - Returns: How many bytes from the start of `target` are the result, and user metadata that goes with it.
    func encrypt(
        _ plain: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, of block: BlockNumber,
        _ encoding: ContentEncoding
    ) -> (count: Int, user: [String: String])

    /// Authenticates, then decrypts into other memory.
    ///
    /// - Parameter target: At least as large as `body`.
    /// - Returns: How many bytes from the start of `target` are the plain bytes.
    /// - Throws: `.notEncrypted` without an HMAC, `.notAuthentic`, `.damaged`.
    func decrypt(
        _ body: UnsafeRawBufferPointer, _ metadata: ObjectMetadata, of block: BlockNumber, _ encoding: ContentEncoding,
        into target: UnsafeMutableRawBufferPointer
    ) throws(CodecError) -> Int
}
