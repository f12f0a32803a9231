// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a cache file knows of the sector in one location.
///
/// - Source: Docs/Formats/CacheFile.md "Records".
struct CacheFileRecord: Equatable, Sendable {
    /// Where the bytes came from.
    enum Kind: UInt8, Sendable {
        /// A write of the user.
        case user = 1
        /// The store has them.
        case store = 2
    }

    /// Which block.
    var block: BlockNumber
    /// Which slot it has; a record counts only while the slot's descriptor says the same.
    var slot: UInt32
    /// Which sector of the block.
    var sector: UInt32
    /// Where the bytes came from.
    var kind: Kind
    /// When they were written; below 2^56.
    var sequence: UInt64
    /// The nonce of an encrypted sector, else zeros.
    var nonce: (UInt64, UInt64, UInt64) = (0, 0, 0)
    /// The authentication of the bytes and of all fields above.
    var tag: (UInt64, UInt64) = (0, 0)

    private static let checked = CacheFileLayout.recordSize - 4

    /// Describes a sector that is not sealed yet.
    init(block: BlockNumber, slot: Int, sector: Int, kind: Kind, sequence: UInt64) {
        self.block = block
        self.slot = UInt32(slot)
        self.sector = UInt32(sector)
        self.kind = kind
        self.sequence = sequence
    }

    /// Reads a record.
    ///
    /// - Returns: Nil for anything that was not written as a record of this file.
    init?(_ bytes: UnsafeRawBufferPointer, seed: UInt64) {
        guard let kind = Kind(rawValue: bytes[15]), Self.check(bytes, seed) == bytes.half(at: Self.checked) else { return nil }
        block = BlockNumber(rawValue: bytes.half(at: 0))
        slot = bytes.half(at: 4)
        sequence = bytes.word(at: 8) & (1 << 56 - 1)
        self.kind = kind
        guard sequence < CacheFileLayout.sequenceEnd else { return nil }
        sector = bytes.half(at: 16)
        nonce = (bytes.word(at: 20), bytes.word(at: 28), bytes.word(at: 36))
        tag = (bytes.word(at: 44), bytes.word(at: 52))
    }

    /// Writes the record.
    func encode(into bytes: UnsafeMutableRawBufferPointer, seed: UInt64) {
        precondition(sequence < 1 << 56, "more writes than a cache file can count")
        bytes.store(block.rawValue, at: 0)
        bytes.store(slot, at: 4)
        bytes.store(sequence | UInt64(kind.rawValue) << 56, at: 8)
        bytes.store(sector, at: 16)
        bytes.store(nonce.0, at: 20)
        bytes.store(nonce.1, at: 28)
        bytes.store(nonce.2, at: 36)
        bytes.store(tag.0, at: 44)
        bytes.store(tag.1, at: 52)
        bytes.store(Self.check(UnsafeRawBufferPointer(bytes), seed), at: Self.checked)
    }

    /// The upper half of the check of all but the last four bytes.
    private static func check(_ bytes: UnsafeRawBufferPointer, _ seed: UInt64) -> UInt32 {
        let hash = cacheFileCheck(bytes.part(0, 56), seed: seed)
        let rest = (hash ^ UInt64(bytes.half(at: 56))) &* 0x9e37_79b9_7f4a_7c15
        return UInt32(truncatingIfNeeded: rest >> 32)
    }

    /// Whether both say the same.
    static func == (left: CacheFileRecord, right: CacheFileRecord) -> Bool {
        left.block == right.block && left.slot == right.slot && left.sector == right.sector && left.kind == right.kind
            && left.sequence == right.sequence && left.nonce == right.nonce && left.tag == right.tag
    }
}
