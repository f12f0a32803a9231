// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Where everything lies in a cache file.
///
///     0       4096     8192
///     | header | header | descriptors | records | zero log 0 | zero log 1 | data | (a longer zero log)
///
/// A *location* is room for one sector: its bytes in the data, and its record. The locations 0 ..< `homeCount` are the homes, those
/// of slot s from s * `sectorsPerBlock` on; the spares follow, for versions of a sector that must not replace the one at home.
///
/// - Source: Docs/Formats/CacheFile.md.
struct CacheFileLayout: Equatable, Sendable {
    /// The unit of a file system's page cache: every part starts at a multiple.
    static let alignment: UInt64 = 4096
    /// The bytes of a header page; there are two.
    static let headerSize = 4096
    /// The bytes of a descriptor; four to a disk sector of 512 bytes, so that none is ever torn.
    static let descriptorSize = 128
    /// The bytes of a record; eight to a disk sector.
    static let recordSize = 64
    /// The bytes of an entry of the zero log; sixteen to a disk sector.
    static let zeroEventSize = 32
    /// The largest block: more would not fit a record's sector number comfortably, and nobody has such objects.
    static let blockSizeMax = 1 << 30
    /// The smallest block: a disk sector, the unit that is never torn.
    static let blockSizeMin = 512

    /// What no sequence in a file reaches: half of what a record has room for, so that whoever goes on from there does not run out.
    static let sequenceEnd: UInt64 = 1 << 55

    /// The bytes of a block.
    let blockSize: Int
    /// How many blocks have a home.
    let slotCount: Int
    /// How many spare locations there are.
    let spareCount: Int
    /// How many entries each of the two zero logs has.
    let zeroEventCount: Int

    /// The bytes of a sector.
    var sectorSize: Int { min(4096, blockSize) }
    /// How many sectors a block has.
    var sectorsPerBlock: Int { blockSize / sectorSize }
    /// How many locations are homes; also the first spare.
    var homeCount: Int { slotCount * sectorsPerBlock }
    /// How many locations there are.
    var locationCount: Int { homeCount + spareCount }

    /// Where the descriptors start.
    var descriptorsOffset: UInt64 { UInt64(2 * Self.headerSize) }
    /// Where the records start.
    var recordsOffset: UInt64 { aligned(descriptorsOffset + UInt64(slotCount * Self.descriptorSize)) }
    /// Where a zero log, 0 or 1, starts.
    func zeroLogOffset(_ index: Int) -> UInt64 {
        let start = aligned(recordsOffset + UInt64(locationCount * Self.recordSize))
        return start + UInt64(index) * aligned(UInt64(zeroEventCount * Self.zeroEventSize))
    }
    /// Where the data starts.
    var dataOffset: UInt64 { zeroLogOffset(2) }
    /// The size of the file.
    var size: UInt64 { aligned(dataOffset + UInt64(locationCount) * UInt64(sectorSize)) }

    /// Where the descriptor of `slot` is.
    func descriptorOffset(_ slot: Int) -> UInt64 { descriptorsOffset + UInt64(slot * Self.descriptorSize) }
    /// Where the record of a location is.
    func recordOffset(_ location: Int) -> UInt64 { recordsOffset + UInt64(location * Self.recordSize) }
    /// Where the bytes of a location are.
    func dataOffset(_ location: Int) -> UInt64 { dataOffset + UInt64(location) * UInt64(sectorSize) }
    /// The homes of `slot`, in the order of its sectors.
    func homes(of slot: Int) -> Range<Int> { slot * sectorsPerBlock..<(slot + 1) * sectorsPerBlock }

    /// How many spares go with so many slots: an eighth of the sectors, 256 at least.
    static func usualSpareCount(slotCount: Int, sectorsPerBlock: Int) -> Int { max(256, slotCount * sectorsPerBlock / 8) }

    private func aligned(_ offset: UInt64) -> UInt64 { (offset + Self.alignment - 1) / Self.alignment * Self.alignment }
}

/// A fingerprint of 64 bits that tells a damaged header, descriptor, record or log entry from a good one; no protection against
/// somebody who wants to deceive.
///
/// For each word of 8 bytes, least significant byte first: `h = (h xor word) * 9e3779b97f4a7c15`, `h = h xor (h >> 32)`.
///
/// - Parameter bytes: A multiple of 8 bytes.
func cacheFileCheck(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    var hash = seed
    for offset in stride(from: 0, to: bytes.count, by: 8) {
        hash = (hash ^ bytes.word(at: offset)) &* 0x9e37_79b9_7f4a_7c15
        hash ^= hash >> 32
    }
    return hash
}

extension UnsafeRawBufferPointer {
    /// The 8 bytes from `offset` on, least significant first.
    func word(at offset: Int) -> UInt64 { UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    /// The 4 bytes from `offset` on, least significant first.
    func half(at offset: Int) -> UInt32 { UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    /// The part from `offset` on.
    func part(_ offset: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[offset..<offset + count])
    }
    /// Whether every byte is zero.
    var isBlank: Bool { allSatisfy { $0 == 0 } }
}

extension UnsafeMutableRawBufferPointer {
    /// Stores 8 bytes, least significant first.
    func store(_ word: UInt64, at offset: Int) { storeBytes(of: word.littleEndian, toByteOffset: offset, as: UInt64.self) }
    /// Stores 4 bytes, least significant first.
    func store(_ half: UInt32, at offset: Int) { storeBytes(of: half.littleEndian, toByteOffset: offset, as: UInt32.self) }
    /// The part from `offset` on.
    func part(_ offset: Int, _ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: self[offset..<offset + count])
    }
}
