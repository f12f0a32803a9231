// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import ObjectStores

/// What a listing shows of a volume.
struct VolumeListing: Sendable {
    /// The first of its blocks, in the order of their names.
    var blocks: [BlockNumber] = []
    /// A block of the other kind of names, with a hash or without.
    var otherName: ObjectKey?
    /// Whether the key object was seen; it comes after all blocks.
    var hasKeyObject = false
    /// Why not everything was looked at; nil when it was, or when enough blocks were found.
    var gap: String?

    /// Whether blocks exist.
    ///
    /// A block of the other kind decides nothing before the list ends: beside blocks of the volume's own it is somebody else's.
    func otherBlocks(_ keys: BlockKeyScheme) -> ProbeResult.OtherBlocks {
        if let block = blocks.first { return .example(keys.key(of: block)) }
        if let otherName { return .otherNames(otherName, areHashed: keys.other.isHashed) }
        return gap.map { .unknown($0) } ?? .none
    }
}

extension VolumeProbe {
    /// How many pages of a listing are looked at for a block among other objects.
    static let listPagesMax = 8

    /// Lists until `blocksMax` blocks are found, nothing is left, or it gets too much.
    func listing(blocksMax: Int) async -> VolumeListing {
        var listing = VolumeListing()
        var after: ObjectKey? = keys.keyBeforeAllBlocks
        do {
            for _ in 0..<Self.listPagesMax {
                let page = try await store.list(prefix: keys.prefix, after: after, limit: 1000, .foreground)
                for entry in page.entries {
                    if let block = keys.block(named: entry.key) { listing.blocks.append(block) }
                    if listing.blocks.count == blocksMax { return listing }
                    if entry.key == keys.volumeKeyKey { listing.hasKeyObject = true }
                    if listing.otherName == nil, keys.other.block(named: entry.key) != nil { listing.otherName = entry.key }
                }
                guard let next = page.next else { return listing }
                after = next
            }
            listing.gap = "the bucket holds too many other objects under the same prefix"
        } catch {
            listing.gap = error.message
            // What was seen before the failure is not the whole; a later page may hold the volume's own.
            listing.otherName = nil
        }
        return listing
    }
}
