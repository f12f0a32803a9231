// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores

/// The way through the codecs, on other threads than the caller's.
///
/// A request may begin on a thread of FUSE, which serves many, and compressing a block takes as long as thousands of hits. Where it
/// runs instead (``computing``), the codecs of several blocks also run in parallel.
extension DirectVolume {
    /// Turns a whole block into what is stored.
    func encode(_ bytes: BufferSlice, of block: BlockNumber) async -> EncodedBlock {
        guard !codec.isIdentity else { return codec.encode(bytes, of: block) }
        return await withTaskExecutorPreference(computing) { codec.encode(bytes, of: block) }
    }

    /// Turns an object into the block that it holds.
    ///
    /// - Throws: When it holds something else.
    func decode(_ object: Object, of block: BlockNumber) async throws(CodecError) -> BufferSlice {
        let metadata = object.attributes.metadata
        guard !codec.isPlain(metadata) else {
            return try codec.decode(object.body, metadata, of: block)
        }
        return try await withTaskExecutorPreference(computing) { () async throws(CodecError) -> BufferSlice in
            try codec.decode(object.body, metadata, of: block)
        }
    }
}
