// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores

/// The object that holds a block: its Content-Type and, for the first block, the volume's sizes.
///
///     body                                exactly blockSize bytes, or no object: zeros
///     Content-Type                        application/x-s3backer-block
///     x-amz-meta-s3backer-blocksize       decimal, first block only
///     x-amz-meta-s3backer-filesize        decimal, first block only
///
/// - Source: Docs/Formats/Direct.md "Block objects".
enum BlockObject {
    /// The Content-Type of every block.
    static let contentType = "application/x-s3backer-block"
    /// The user metadata that holds the bytes of a block.
    static let blockSizeName = "s3backer-blocksize"
    /// The user metadata that holds the bytes of the disk.
    static let diskSizeName = "s3backer-filesize"
    /// The largest size of a block that metadata is believed. Whoever writes the metadata would else decide how much memory a
    /// block takes, and zlib counts in 32 bits.
    static let blockSizeMax = 1 << 31
    /// The block that carries the sizes, and that always has an object once the volume has been written to.
    static let first = BlockNumber(rawValue: 0)

    /// What is stored beside the bytes of `block`.
    static func metadata(of block: BlockNumber, _ geometry: BlockGeometry) -> ObjectMetadata {
        guard block == first else { return ObjectMetadata(contentType: contentType) }
        let sizes = [blockSizeName: String(geometry.blockSize), diskSizeName: String(geometry.sizeBytes)]
        return ObjectMetadata(contentType: contentType, user: sizes)
    }

    /// The body of the object that holds `contents`: zeros are spelt out.
    static func body(_ contents: BlockContents, _ geometry: BlockGeometry) -> BufferSlice {
        switch contents {
        case .bytes(let slice): return slice
        case .zero:
            let writer = BufferWriter(count: geometry.blockSize)
            writer.withMutableBytes { BlockContents.zero.copy(to: $0) }
            return BufferSlice(writer.freeze(count: geometry.blockSize))
        }
    }

    /// The version that an object's tag stands for.
    ///
    /// A weak tag does not promise equal bytes (RFC 9110 section 8.8.1), so it is as good as none.
    static func version(_ eTag: ETag?) -> BlockVersion {
        guard let eTag, isStrong(eTag) else { return .unknown }
        return .tag(eTag.text)
    }

    /// Whether equal tags mean equal bytes.
    static func isStrong(_ eTag: ETag) -> Bool { !eTag.text.hasPrefix("W/") }
}
