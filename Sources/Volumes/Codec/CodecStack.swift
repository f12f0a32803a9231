// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Cryptography
internal import DataPath
internal import ObjectStores

/// Compression, encryption and authentication of whole blocks: pure functions from bytes to bytes, without I/O.
///
///     encode:  block  --compress-->  [head room | bytes      | room]  --encrypt in place-->  [nonce | bytes | tag]  = body
///     decode:  body   --authenticate, decrypt-->  bytes  --decompress-->  block
///
/// Each step writes into a buffer of the pool; no byte is copied beside. What is written is set by the options; what is read is
/// told by each object's own Content-Encoding, so that the compression may change from mount to mount.
///
/// - Concurrency: safe from anywhere, and in parallel. Runs for as long as compression takes, so never on the threads of FUSE or curl.
/// - Source: Docs/Formats/Direct.md "Content-Encoding".
final class CodecStack: Sendable {
    private let blockSize: Int
    private let pool: BufferPool
    private let compression: Compression?
    private let encryption: (any BlockEncryption)?
    private let defaultEncoding: ContentEncoding
    private let deflate: Deflate
    private let zstd: Zstd

    /// What `encode` writes; empty when it leaves the bytes as they are.
    private let written: ContentEncoding
    private let writtenText: String

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
        let isRequired = encryption?.requiresCompression ?? false
        let compression = compression ?? (isRequired ? Compression(.deflate, level: Compression.Kind.deflate.defaultLevel) : nil)
        self.blockSize = blockSize
        self.pool = pool
        self.compression = compression
        self.encryption = encryption
        // A user's spelling is nobody's tampering.
        self.defaultEncoding = defaultEncoding?.canonical ?? ContentEncoding(elements: [])
        deflate = Deflate(level: compression?.level(for: .deflate) ?? Compression.Kind.deflate.defaultLevel)
        zstd = Zstd(level: compression?.level(for: .zstd) ?? Compression.Kind.zstd.defaultLevel)
        written = ContentEncoding(elements: [compression?.name, encryption?.encodingName].compactMap(\.self))
        writtenText = written.text
    }

    /// Whether `encode` leaves the bytes as they are, so that it costs nothing.
    var isIdentity: Bool { compression == nil && encryption == nil }
    /// Whether `decode` notices every change of the bytes.
    var isAuthenticating: Bool { encryption != nil }

    /// A key for another use than blocks, 32 bytes; nil without encryption. See ``BlockEncryption/derivedKey(for:)``.
    func derivedKey(for label: String) -> SecretBytes? { encryption?.derivedKey(for: label) }

    /// Whether `decode` has nothing to do for an object of these attributes but look at its length.
    func isPlain(_ metadata: ObjectMetadata) -> Bool {
        encryption == nil && defaultEncoding.elements.isEmpty && metadata.contentEncoding == nil
    }

    // MARK: Writing

    /// Turns a block into what is stored.
    ///
    /// - Parameter bytes: The whole block.
    func encode(_ bytes: BufferSlice, of block: BlockNumber) -> EncodedBlock {
        precondition(bytes.count == blockSize, "a block is encoded whole")
        guard !isIdentity else { return EncodedBlock(body: bytes, contentEncoding: nil, user: [:]) }
        let headCount = encryption?.headCount ?? 0
        let packedMax = compression.map { sizeMax(of: $0.kind) } ?? blockSize
        let writer = pool.writer(count: headCount + packedMax + (encryption?.tailCountMax ?? 0))
        let (count, user) = writer.withMutableBytes { target in
            bytes.withBytes { encode($0, of: block, into: target, headCount: headCount, packedMax: packedMax) }
        }
        let body = BufferSlice(writer.freeze(count: count))
        return EncodedBlock(body: body, contentEncoding: writtenText, user: user)
    }

    private func encode(
        _ source: UnsafeRawBufferPointer, of block: BlockNumber, into target: UnsafeMutableRawBufferPointer, headCount: Int,
        packedMax: Int
    ) -> (count: Int, user: [String: String]) {
        var plain = source
        if let compression {
            let room = UnsafeMutableRawBufferPointer(rebasing: target[headCount..<headCount + packedMax])
            let count = compress(source, as: compression.kind, into: room)
            plain = UnsafeRawBufferPointer(rebasing: room[..<count])
        }
        guard let encryption else { return (plain.count, [:]) }
        return encryption.encrypt(plain, into: target, of: block, written)
    }

    private func compress(
        _ source: UnsafeRawBufferPointer, as kind: Compression.Kind, into target: UnsafeMutableRawBufferPointer
    ) -> Int {
        switch kind {
        case .deflate: deflate.compress(source, into: target)
        case .zstd: zstd.compress(source, into: target)
        }
    }

    private func sizeMax(of kind: Compression.Kind) -> Int {
        switch kind {
        case .deflate: Deflate.sizeMax(of: blockSize)
        case .zstd: Zstd.sizeMax(of: blockSize)
        }
    }

    // MARK: Reading

    /// Turns what is stored into a block.
    ///
    /// Nothing of an object that is not authentic, or too large, reaches a decompressor.
    ///
    /// - Returns: Exactly as many bytes as a block has.
    /// - Throws: What is wrong with the object; it has been written by somebody else, or was changed.
    func decode(
        _ body: BufferSlice, _ metadata: ObjectMetadata, of block: BlockNumber
    ) throws(CodecError) -> BufferSlice {
        let plan = try DecodingPlan(encoding(metadata), encryption)
        try check(body.count, plan)
        var bytes = body
        if let encryption { bytes = try decrypt(body, metadata, of: block, plan, encryption) }
        guard let kind = plan.compression else {
            guard bytes.count == blockSize else {
                var text = "it has \(bytes.count) bytes instead of \(blockSize); was the volume written with another block size?"
                if metadata.contentEncoding == nil, bytes.count < blockSize {
                    text += " if the object has lost its Content-Encoding, use --defaultContentEncoding"
                }
                throw CodecError(.damaged, text)
            }
            return bytes
        }
        return try decompress(bytes, as: kind)
    }

    /// The list that describes an object. A header without an element says as much as no header.
    func encoding(_ metadata: ObjectMetadata) -> ContentEncoding {
        guard let text = metadata.contentEncoding else { return defaultEncoding }
        let encoding = ContentEncoding(parsing: text)
        return encoding.elements.isEmpty ? defaultEncoding : encoding
    }

    /// Refuses a body that is longer than any that a block can become.
    private func check(_ count: Int, _ plan: DecodingPlan) throws(CodecError) {
        var countMax = blockSize
        switch plan.compression {
        case .deflate: countMax = Deflate.sizeReadMax(of: blockSize)
        case .zstd: countMax = Zstd.sizeMax(of: blockSize)
        case nil: if !plan.isEncrypted { return }  // must be exact; tells more
        }
        if let encryption { countMax += encryption.headCount + encryption.tailCountMax }
        guard count <= countMax else {
            throw CodecError(
                .damaged,
                "it has \(count) bytes, more than a block of \(blockSize) bytes can become; "
                    + "was the volume written with another block size?")
        }
    }

    private func decrypt(
        _ body: BufferSlice, _ metadata: ObjectMetadata, of block: BlockNumber, _ plan: DecodingPlan,
        _ encryption: any BlockEncryption
    ) throws(CodecError) -> BufferSlice {
        let writer = pool.writer(count: body.count)
        let count = try writer.withMutableBytes { (target) throws(CodecError) in
            try body.withBytes { (body) throws(CodecError) in
                try encryption.decrypt(body, metadata, of: block, plan.encoding, into: target)
            }
        }
        return BufferSlice(writer.freeze(count: count))
    }

    private func decompress(_ bytes: BufferSlice, as kind: Compression.Kind) throws(CodecError) -> BufferSlice {
        let writer = pool.writer(count: blockSize)
        try writer.withMutableBytes { (target) throws(CodecError) in
            try bytes.withBytes { (source) throws(CodecError) in
                switch kind {
                case .deflate: try deflate.decompress(source, into: target)
                case .zstd: try zstd.decompress(source, into: target)
                }
            }
        }
        return BufferSlice(writer.freeze(count: blockSize))
    }
}

extension Compression {
    /// The level, if this is `kind`.
    fileprivate func level(for kind: Kind) -> Int? { self.kind == kind ? level : nil }
}
