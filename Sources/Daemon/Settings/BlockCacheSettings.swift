// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores

/// How the block cache behaves, as far as that is known before the sizes of the volume are.
public struct BlockCacheSettings: Equatable, Sendable {
    /// The bytes that the cache holds when the user does not say how many blocks.
    static let defaultBytes = 256 << 20
    /// The least and the most blocks that this may be.
    static let defaultSlots = 64...65_536
    /// The bytes that are read ahead of a sequential reader when the user does not say how many blocks.
    static let defaultReadAheadBytes = 16 << 20
    /// The least and the most blocks that this may be.
    static let defaultReadAhead = 4...128

    /// How many blocks it holds; nil is as many as ``defaultBytes`` are.
    public var slotCount: Int?
    /// How many blocks are read ahead at most; nil is as many as ``defaultReadAheadBytes`` are.
    public var readAheadMax: Int?
    /// Everything else; its number of slots and its read-ahead do not count.
    public var behaviour: CacheSettings
    /// The file that keeps the cache; nil keeps it in memory.
    public var file: CacheFileSettings?

    /// Spells out every setting.
    public init(slotCount: Int?, readAheadMax: Int?, behaviour: CacheSettings, file: CacheFileSettings?) {
        self.slotCount = slotCount
        self.readAheadMax = readAheadMax
        self.behaviour = behaviour
        self.file = file
    }

    /// The settings for a volume of these sizes: never more slots than it has blocks, never more dirty blocks than slots.
    public func settings(for geometry: BlockGeometry) -> CacheSettings {
        var settings = behaviour
        settings.slotCount = min(
            slotCount ?? Self.blocks(of: Self.defaultBytes, geometry, Self.defaultSlots), geometry.blockCount)
        settings.readAheadMax =
            readAheadMax
            // A stream must not drive everything else out of a small cache.
            ?? min(Self.blocks(of: Self.defaultReadAheadBytes, geometry, Self.defaultReadAhead), max(1, settings.slotCount / 4))
        if let dirtyMax = settings.dirtyMax, dirtyMax >= settings.slotCount { settings.dirtyMax = nil }
        return settings
    }

    /// Lines for the user about what the sizes of the volume have made of what was given.
    func warnings(for geometry: BlockGeometry) -> [String] {
        var warnings: [String] = []
        let slots = settings(for: geometry).slotCount
        if let slotCount, slotCount > slots {
            warnings.append(
                "\"--blockCacheSize=\(slotCount)\" is more than the \(geometry.blockCount) blocks of the volume; reduced to that")
        }
        if behaviour.protectedCount > slots {
            warnings.append(
                "\"--blockCacheNumProtected=\(behaviour.protectedCount)\" is more than the \(slots) blocks that the cache holds")
        }
        if let dirtyMax = behaviour.dirtyMax, dirtyMax > slots {
            warnings.append(
                "\"--blockCacheMaxDirty=\(dirtyMax)\" is more than the \(slots) blocks that the cache holds; reduced to that")
        }
        return warnings
    }

    /// How many blocks `bytes` are, within limits.
    private static func blocks(of bytes: Int, _ geometry: BlockGeometry, _ limits: ClosedRange<Int>) -> Int {
        min(max(bytes / geometry.blockSize, limits.lowerBound), limits.upperBound)
    }
}

/// The file that keeps the block cache.
public struct CacheFileSettings: Equatable, Sendable {
    /// What happens to data in it that is not in the store, when the volume has been used otherwise since.
    public enum DirtyRecovery: String, Sendable, CaseIterable {
        /// It is written over what is in the store now.
        case apply
        /// The file is renamed, and a new one begun.
        case discard
    }

    /// Where it is.
    public var path: String
    /// What happens to data that is not in the store; nil refuses the start where it is not certain that it belongs there.
    public var recovery: DirtyRecovery?
    /// Whether it is kept out of the kernel's page cache.
    public var isAdvised: Bool
    /// Whether its data is plain although the volume is encrypted.
    public var isPlain: Bool

    /// Spells out every setting.
    public init(path: String, recovery: DirtyRecovery?, isAdvised: Bool, isPlain: Bool) {
        self.path = path
        self.recovery = recovery
        self.isAdvised = isAdvised
        self.isPlain = isPlain
    }
}
