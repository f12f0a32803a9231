// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores

/// The way through the codecs, on other threads than the caller's.
///
/// A request begins on a thread of FUSE, and an answer on the thread of libcurl would come back there; both serve many, and
/// compressing a block takes as long as thousands of hits. A child task runs on the executor of its parent's preference instead,
/// the I/O pool, so the codecs of several blocks also run in parallel.
extension DirectVolume {
    /// Turns a whole block into what is stored.
    func encode(_ bytes: BufferSlice, of block: BlockNumber) async -> EncodedBlock {
        guard !codec.isIdentity else { return codec.encode(bytes, of: block) }
        async let form = codec.encode(bytes, of: block)
        return await form
    }

    /// Turns an object into the block that it holds.
    ///
    /// - Throws: When it holds something else.
    func decode(_ object: Object, of block: BlockNumber) async throws(CodecError) -> BufferSlice {
        let metadata = object.attributes.metadata
        guard !codec.isPlain(metadata) else {
            return try codec.decode(object.body, metadata, of: block)
        }
        async let bytes = result(of: object, block)
        return try await bytes.get()
    }

    private func result(of object: Object, _ block: BlockNumber) -> Result<BufferSlice, CodecError> {
        do throws(CodecError) {
            return .success(try codec.decode(object.body, object.attributes.metadata, of: block))
        } catch {
            return .failure(error)
        }
    }
}
