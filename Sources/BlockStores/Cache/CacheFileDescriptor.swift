// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a cache file knows of one slot.
///
/// - Source: Docs/Formats/CacheFile.md "Descriptors".
struct CacheFileDescriptor: Equatable, Sendable {
    /// Whose the slot is.
    enum State: UInt8, Sendable {
        /// Nobody's.
        case free = 0
        /// The block's.
        case used = 1
        /// Nobody's any more; it held data of `block` that the store never saw, because the block was zeroed.
        case zeroed = 2
    }

    /// Whose the slot is.
    var state: State
    /// The block, unless free.
    var block: BlockNumber
    /// Records of the slot up to this sequence are void.
    var base: UInt64
    /// The store has what was written up to this sequence; 0 until it is told so.
    var mark: UInt64 = 0
    /// Of a zeroed block: the sequence of the zeroing.
    var zeroSequence: UInt64 = 0
    /// The version that the store has; `.unknown` until it is told so.
    var version = BlockVersion.unknown

    private static let textOffset = 40
    private static let checkOffset = CacheFileLayout.descriptorSize - 8
    /// The longest name of a version that is kept; S3's are 32 bytes, or up to 38 for an upload in parts.
    static let versionSizeMax = checkOffset - textOffset

    /// Describes a slot.
    init(_ state: State, block: BlockNumber, base: UInt64) {
        self.state = state
        self.block = block
        self.base = base
    }

    /// Reads a descriptor; one that is blank is free.
    ///
    /// - Parameter seed: The file's, see ``CacheFileHeader/seed``; the slot is mixed in here.
    /// - Returns: Nil when it is damaged.
    init?(_ bytes: UnsafeRawBufferPointer, slot: Int, seed: UInt64) {
        guard !bytes.isBlank else {
            self.init(.free, block: BlockNumber(0), base: 0)
            return
        }
        let check = cacheFileCheck(bytes.part(0, Self.checkOffset), seed: seed ^ UInt64(slot))
        guard let state = State(rawValue: bytes[4]), check == bytes.word(at: Self.checkOffset) else { return nil }
        self.init(state, block: BlockNumber(rawValue: bytes.half(at: 0)), base: bytes.word(at: 8))
        mark = bytes.word(at: 16)
        zeroSequence = bytes.word(at: 24)
        // What nobody writes; to go on from there would fail.
        guard max(base, mark, zeroSequence) < CacheFileLayout.sequenceEnd, block.rawValue < .max else { return nil }
        let count = Int(bytes[6])
        switch bytes[5] {
        case 1: version = .zero
        case 2 where count <= Self.versionSizeMax:
            version = .tag(String(decoding: bytes.part(Self.textOffset, count), as: UTF8.self))
        default: version = .unknown
        }
    }

    /// Writes the descriptor over whatever is there.
    func encode(into bytes: UnsafeMutableRawBufferPointer, slot: Int, seed: UInt64) {
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        bytes.store(block.rawValue, at: 0)
        bytes[4] = state.rawValue
        bytes.store(base, at: 8)
        bytes.store(mark, at: 16)
        bytes.store(zeroSequence, at: 24)
        switch version {
        case .zero: bytes[5] = 1
        case .tag(let text) where text.utf8.count <= Self.versionSizeMax:
            bytes[5] = 2
            bytes[6] = UInt8(text.utf8.count)
            bytes.part(Self.textOffset, text.utf8.count).copyBytes(from: text.utf8)
        case .tag, .unknown: bytes[5] = 0
        }
        let checked = UnsafeRawBufferPointer(bytes).part(0, Self.checkOffset)
        bytes.store(cacheFileCheck(checked, seed: seed ^ UInt64(slot)), at: Self.checkOffset)
    }
}
