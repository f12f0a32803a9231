// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
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
    /// Bytes that the encrypted form needs in front of the plain bytes in memory, so that they are encrypted in place.
    var headCount: Int { get }
    /// Bytes that it needs behind them, at most.
    var tailCountMax: Int { get }

    /// Encrypts in place.
    ///
    /// - Parameters:
    ///   - buffer: `headCount` free bytes, `count` plain bytes, at least `tailCountMax` free bytes.
    ///   - encoding: The whole Content-Encoding of the result.
    /// - Returns: How many bytes from the start of `buffer` are the result, and user metadata that goes with it.
    func encrypt(
        _ buffer: UnsafeMutableRawBufferPointer, count: Int, of block: BlockNumber, _ encoding: ContentEncoding
    ) -> (count: Int, user: [String: String])

    /// Authenticates, then decrypts into other memory.
    ///
    /// - Parameter target: At least as large as `body`.
    /// - Returns: How many bytes of `target` are the plain bytes.
    func decrypt(
        _ body: UnsafeRawBufferPointer, _ metadata: ObjectMetadata, of block: BlockNumber, _ encoding: ContentEncoding,
        into target: UnsafeMutableRawBufferPointer
    ) throws(CodecError) -> Int
}
