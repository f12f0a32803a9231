// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores

/// Compression, encryption and authentication of whole blocks: pure functions from bytes to bytes, without I/O.
///
/// - Concurrency: safe from anywhere, and in parallel. Runs for as long as compression takes, so never on the threads of FUSE or curl.
final class CodecStack: Sendable {
    private let blockSize: Int

    /// Makes a stack.
    ///
    /// - Parameters:
    ///   - compression: How written blocks are compressed. Nil leaves them as they are, unless the encryption requires
    ///     compression: then deflate at its default level.
    ///   - encryption: Nil refuses encrypted objects; else every object must be encrypted in this way.
    ///   - defaultEncoding: What is taken for the Content-Encoding of an object that has none.
    init(
        compression: Compression?, encryption: (any BlockEncryption)?, defaultEncoding: ContentEncoding?, blockSize: Int,
        pool: BufferPool
    ) {
        self.blockSize = blockSize
    }

    /// Whether `encode` leaves the bytes as they are, so that it costs nothing.
    var isIdentity: Bool { true }
    /// Whether `decode` notices every change of the bytes.
    var isAuthenticating: Bool { false }

    /// Turns a block into what is stored.
    ///
    /// - Parameter bytes: The whole block.
    func encode(_ bytes: BufferSlice, of block: BlockNumber) -> EncodedBlock {
        EncodedBlock(body: bytes, contentEncoding: nil, user: [:])
    }

    /// Turns what is stored into a block.
    ///
    /// - Returns: Exactly as many bytes as a block has.
    func decode(
        _ body: BufferSlice, _ metadata: ObjectMetadata, of block: BlockNumber
    ) throws(CodecError) -> BufferSlice {
        if let encoding = metadata.contentEncoding, !encoding.isEmpty {
            throw CodecError(
                .unknownEncoding,
                "it is stored with Content-Encoding \"\(encoding)\"; this version reads neither compressed nor encrypted volumes")
        }
        guard body.count == blockSize else {
            throw CodecError(
                .damaged, "it has \(body.count) bytes instead of \(blockSize); was the volume written with another block size?")
        }
        return body
    }
}
