// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// The first page of a cache file. There are two, written in turns: whichever is torn by a crash, the other one is good.
///
/// - Source: Docs/Formats/CacheFile.md "Header".
struct CacheFileHeader: Equatable, Sendable {
    /// The first 8 bytes.
    static let magic: [UInt8] = Array("S3BCACHE".utf8)
    /// The version of the format that this program writes, and the only one it reads.
    static let version: UInt32 = 1
    /// The longest description of a volume, in bytes.
    static let identitySizeMax = 3840

    /// What holds for the whole file.
    struct Flags: OptionSet, Equatable, Sendable {
        let rawValue: UInt32
        /// The sectors are encrypted.
        static let encrypted = Flags(rawValue: 1)
        /// The process that used the file closed it; nobody relies on it.
        static let closed = Flags(rawValue: 2)
        /// An fdatasync(2) failed: what is in the file may not be all that was promised.
        static let distrusted = Flags(rawValue: 4)
    }

    /// Where the entries of the zero log are.
    struct ZeroArea: Equatable, Sendable {
        /// The first byte.
        var offset: UInt64
        /// How many entries have room.
        var count: UInt32
        /// Entries of other generations are void.
        var generation: UInt32
    }

    /// What holds for the whole file.
    var flags: Flags
    /// Of two good pages the one with the higher number counts.
    var generation: UInt64 = 0
    /// Where everything lies.
    var layout: CacheFileLayout
    /// The mount token of the mount that uses the file or used it last; 0 once that has ended in order.
    var token: UInt32 = 0
    /// 16 random bytes, made with the file.
    var fileID: [UInt8]
    /// Where the zero log is.
    var zeroArea: ZeroArea
    /// The nonce of the key check.
    var keyNonce: [UInt8]
    /// The key check: an empty text sealed with the file's key.
    var keyTag: [UInt8]
    /// The key of the sector checks in a file that is not encrypted; no secret. Zeros in one that is.
    var checkKey: [UInt8]
    /// Which volume's blocks these are.
    var identity: String

    private static let identityOffset = 160
    private static let checkOffset = CacheFileLayout.headerSize - 8

    /// What the checks of this file start from, so that a leftover of another file is never taken for a part of this one.
    var seed: UInt64 { fileID.withUnsafeBytes { $0.word(at: 0) ^ $0.word(at: 8) } }

    /// Makes the header of a new file.
    init(layout: CacheFileLayout, identity: String, isEncrypted: Bool) {
        precondition(identity.utf8.count <= Self.identitySizeMax, "the description of the volume is too long")
        flags = isEncrypted ? .encrypted : []
        self.layout = layout
        self.identity = identity
        fileID = Self.random(16)
        zeroArea = ZeroArea(offset: layout.zeroLogOffset(0), count: UInt32(layout.zeroEventCount), generation: 1)
        keyNonce = Self.random(XAES256GCM.nonceCount)
        keyTag = [UInt8](repeating: 0, count: XAES256GCM.tagCount)
        checkKey = isEncrypted ? [UInt8](repeating: 0, count: 32) : Self.random(32)
    }

    /// Reads a page.
    ///
    /// - Returns: Nil when it is not one, is damaged, or is of another version; ``version(of:)`` tells.
    init?(_ page: UnsafeRawBufferPointer) {
        guard Self.version(of: page) == Self.version else { return nil }
        guard cacheFileCheck(page.part(0, Self.checkOffset), seed: 0) == page.word(at: Self.checkOffset) else { return nil }
        let identityCount = Int(page.half(at: 148))
        guard identityCount <= Self.identitySizeMax else { return nil }
        flags = Flags(rawValue: page.half(at: 12))
        generation = page.word(at: 16)
        layout = CacheFileLayout(
            blockSize: Int(page.half(at: 24)), slotCount: Int(page.half(at: 28)), spareCount: Int(page.half(at: 32)),
            zeroEventCount: Int(page.half(at: 144)))
        guard Self.isSound(layout) else { return nil }
        token = page.half(at: 36)
        fileID = Array(page.part(40, 16))
        zeroArea = ZeroArea(offset: page.word(at: 64), count: page.half(at: 60), generation: page.half(at: 56))
        guard Self.isSound(zeroArea, layout) else { return nil }
        keyNonce = Array(page.part(72, 24))
        keyTag = Array(page.part(96, 16))
        checkKey = Array(page.part(112, 32))
        identity = String(decoding: page.part(Self.identityOffset, identityCount), as: UTF8.self)
    }

    /// Writes the page.
    func encode(into page: UnsafeMutableRawBufferPointer) {
        page.initializeMemory(as: UInt8.self, repeating: 0)
        page.part(0, 8).copyBytes(from: Self.magic)
        page.store(Self.version, at: 8)
        page.store(flags.rawValue, at: 12)
        page.store(generation, at: 16)
        page.store(UInt32(layout.blockSize), at: 24)
        page.store(UInt32(layout.slotCount), at: 28)
        page.store(UInt32(layout.spareCount), at: 32)
        page.store(token, at: 36)
        page.part(40, 16).copyBytes(from: fileID)
        page.store(zeroArea.generation, at: 56)
        page.store(zeroArea.count, at: 60)
        page.store(zeroArea.offset, at: 64)
        page.part(72, 24).copyBytes(from: keyNonce)
        page.part(96, 16).copyBytes(from: keyTag)
        page.part(112, 32).copyBytes(from: checkKey)
        page.store(UInt32(layout.zeroEventCount), at: 144)
        page.store(UInt32(identity.utf8.count), at: 148)
        page.part(Self.identityOffset, identity.utf8.count).copyBytes(from: identity.utf8)
        page.store(cacheFileCheck(UnsafeRawBufferPointer(page).part(0, Self.checkOffset), seed: 0), at: Self.checkOffset)
    }

    /// The version of the format, if the page belongs to a cache file of this program.
    static func version(of page: UnsafeRawBufferPointer) -> UInt32? {
        page.prefix(magic.count).elementsEqual(magic) ? page.half(at: 8) : nil
    }

    /// Whether the page starts a cache file of the C program, of either byte order: its signature, and a header of 32 or 64 bytes.
    static func isForeign(_ page: UnsafeRawBufferPointer) -> Bool {
        let words = (page.half(at: 0), page.half(at: 4))
        let signature: UInt32 = 0xe496_f17b
        let sizes: [UInt32] = [32, 64]
        if words.0 == signature { return sizes.contains(words.1) }
        return words.0.byteSwapped == signature && sizes.contains(words.1.byteSwapped)
    }

    /// Whether the sizes are such as this program makes, so that no arithmetic with them can fail.
    private static func isSound(_ layout: CacheFileLayout) -> Bool {
        let isPower = layout.blockSize & (layout.blockSize - 1) == 0
        guard isPower, CacheFileLayout.blockSizeMin...CacheFileLayout.blockSizeMax ~= layout.blockSize else { return false }
        let homes = layout.slotCount.multipliedReportingOverflow(by: layout.sectorsPerBlock)
        return layout.slotCount > 0 && layout.zeroEventCount > 0 && !homes.overflow && homes.partialValue < 1 << 40
            && layout.spareCount < 1 << 32
    }

    /// Whether the zero log is where this program puts one: at a fixed place, or behind the data.
    private static func isSound(_ area: ZeroArea, _ layout: CacheFileLayout) -> Bool {
        let places = [layout.zeroLogOffset(0), layout.zeroLogOffset(1)]
        if places.contains(area.offset) { return Int(area.count) == layout.zeroEventCount }
        return area.offset >= layout.size && area.offset < 1 << 62 && area.offset % CacheFileLayout.alignment == 0
    }

    private static func random(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { bytes, initializedCount in
            fillRandom(UnsafeMutableRawBufferPointer(bytes))
            initializedCount = count
        }
    }
}
