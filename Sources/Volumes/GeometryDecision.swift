// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
internal import ObjectStores

/// The sizes that the user gave.
public struct ConfiguredSizes: Hashable, Sendable {
    /// `--blockSize`; nil when not given.
    public var blockSize: Int?
    /// `--size`; nil when not given.
    public var diskSize: UInt64?

    /// Makes a pair of sizes, both in bytes.
    public init(blockSize: Int?, diskSize: UInt64?) {
        self.blockSize = blockSize
        self.diskSize = diskSize
    }
}

/// Which sizes a volume is opened with; pure.
///
///     block 0 says      configured             outcome
///     sizes             none, or the same      those
///     sizes             others                 refused; with --force the configured ones, and warnings
///     nonsense          both                   those, and a warning
///     nonsense          not both               refused
///     no object, and there are other blocks, or it is not known
///                       both                   those, and a warning
///                       not both               refused: a default could be wrong
///     no object, and there are blocks with the other kind of names
///                       both, and --force      those, and a warning
///                       else                   refused: --blockHashPrefix is wrong
///     no object, and no other block
///                       disk size              that, block size 4 KiB unless given
///                       none                   refused
///     not asked (--noAutoDetect, and both sizes given)
///                       both                   those; compared with block 0 before the first change
public struct GeometryDecision: Hashable, Sendable {
    /// The block size of a fresh volume, when none is given.
    public static let blockSizeDefault = 4096

    /// The sizes.
    public let geometry: BlockGeometry
    /// One line for the user that says where they come from.
    public let notice: String
    /// What the user should know besides; each a line.
    public let warnings: [String]

    /// Decides.
    ///
    /// - Parameters:
    ///   - probe: What the bucket said; nil when it was not asked, which takes both sizes.
    ///   - detectsSizes: False with `--noAutoDetect`; changes the notice only.
    ///   - isForced: Whether `--force` was given.
    /// - Throws: `.geometry`, with what to do.
    public static func decide(
        probe: ProbeResult?, configured: ConfiguredSizes, detectsSizes: Bool, isForced: Bool
    ) throws(VolumeError) -> GeometryDecision {
        switch probe {
        case .found(let geometry): return try reconcile(geometry, configured, isForced: isForced)
        case .damaged(let problems):
            return try bothGiven(
                configured, because: "the metadata of the volume's first block does not tell its sizes (\(problems))")
        case .absent(.example(let key)):
            return try bothGiven(
                configured, because: "the volume's first block has no object, but others exist (\"\(key)\")")
        case .absent(.unknown(let reason)):
            return try bothGiven(
                configured,
                because: "the volume's first block has no object, and whether others exist is not known (\(reason))")
        case .absent(.otherNames(let key, let areHashed)):
            let problem = otherNames(key, areHashed: areHashed)
            guard isForced, configured.blockSize != nil, configured.diskSize != nil else {
                throw VolumeError(.geometry, "cannot open the volume: \(problem); \(cureOfOtherNames(areHashed: areHashed))")
            }
            return try bothGiven(configured, because: "\(problem), so they are not seen")
        case .absent(.none):
            return try fresh(
                configured, detection: detectsSizes ? "failed" : "disabled",
                unknown: "no block of it has an object yet; to make it, give --size")
        case nil:
            // Reads of a block size that was guessed wrong give zeros where there is data.
            guard configured.blockSize != nil else {
                throw VolumeError(
                    .geometry, "cannot open the volume: its block size is not known and not asked for; give --blockSize")
            }
            return try fresh(configured, detection: "disabled", unknown: "its size is not known and not asked for; give --size")
        }
    }

    /// What is wrong when a block has the name `key`, in the user's words.
    static func otherNames(_ key: ObjectKey, areHashed: Bool) -> String {
        areHashed
            ? "its blocks have a hash in their names (\"\(key)\"), and --blockHashPrefix was not given"
            : "its blocks have no hash in their names (\"\(key)\"), and --blockHashPrefix was given"
    }

    /// What to do then.
    static func cureOfOtherNames(areHashed: Bool) -> String {
        (areHashed ? "use" : "leave out") + " --blockHashPrefix, or give a new volume a --prefix of its own"
    }

    private static func reconcile(
        _ found: BlockGeometry, _ configured: ConfiguredSizes, isForced: Bool
    ) throws(VolumeError) -> GeometryDecision {
        let blockSize = configured.blockSize ?? found.blockSize
        let diskSize = configured.diskSize ?? found.sizeBytes
        var differences: [String] = []
        if blockSize != found.blockSize {
            differences.append(
                "configured block size \(sizeText(UInt64(blockSize))) is not the volume's \(sizeText(UInt64(found.blockSize)))")
        }
        if diskSize != found.sizeBytes {
            differences.append("configured size \(sizeText(diskSize)) is not the volume's \(sizeText(found.sizeBytes))")
        }
        let text =
            "auto-detected block size \(sizeText(UInt64(found.blockSize))) and total size \(sizeText(found.sizeBytes))"
        guard !differences.isEmpty else { return GeometryDecision(geometry: found, notice: text, warnings: []) }
        guard isForced else {
            throw VolumeError(
                .geometry,
                "cannot open the volume: \(differences.joined(separator: ", and ")); "
                    + "leave out --blockSize and --size to take the volume's own, or use --force to override")
        }
        let geometry = try geometry(blockSize: blockSize, diskSize: diskSize)
        let warnings =
            differences + ["--force was given: the configured sizes are used, and recorded when the first block is next written"]
        return GeometryDecision(geometry: geometry, notice: text, warnings: warnings)
    }

    private static func bothGiven(_ configured: ConfiguredSizes, because: String) throws(VolumeError) -> GeometryDecision {
        guard let blockSize = configured.blockSize, let diskSize = configured.diskSize else {
            throw VolumeError(
                .geometry,
                "cannot detect the volume's sizes: \(because); please specify both --blockSize and --size, as the volume was made"
            )
        }
        return GeometryDecision(
            geometry: try geometry(blockSize: blockSize, diskSize: diskSize),
            notice: using(blockSize, diskSize, isConfigured: true, detection: "failed"),
            warnings: ["\(because); the configured sizes are used unverified"])
    }

    /// - Parameter unknown: Why the size is not known and what to do, for a user who gave none.
    private static func fresh(
        _ configured: ConfiguredSizes, detection: String, unknown: String
    ) throws(VolumeError) -> GeometryDecision {
        guard let diskSize = configured.diskSize else { throw VolumeError(.geometry, "cannot open the volume: \(unknown)") }
        let blockSize = configured.blockSize ?? blockSizeDefault
        return GeometryDecision(
            geometry: try geometry(blockSize: blockSize, diskSize: diskSize),
            notice: using(blockSize, diskSize, isConfigured: configured.blockSize != nil, detection: detection),
            warnings: [])
    }

    private static func using(_ blockSize: Int, _ diskSize: UInt64, isConfigured: Bool, detection: String) -> String {
        "auto-detection \(detection); using \(isConfigured ? "configured" : "default") block size "
            + "\(sizeText(UInt64(blockSize))) and total size \(sizeText(diskSize))"
    }

    private static func geometry(blockSize: Int, diskSize: UInt64) throws(VolumeError) -> BlockGeometry {
        guard blockSize > 0, blockSize & (blockSize - 1) == 0 else {
            throw VolumeError(.geometry, "cannot use block size \(blockSize): it is not a power of two; change --blockSize")
        }
        guard diskSize > 0, diskSize % UInt64(blockSize) == 0 else {
            throw VolumeError(
                .geometry,
                "cannot use size \(sizeText(diskSize)): it is not a multiple of the block size \(sizeText(UInt64(blockSize))); "
                    + "change --size or --blockSize")
        }
        guard
            let count = Int(exactly: diskSize / UInt64(blockSize)),
            let geometry = BlockGeometry(blockSize: blockSize, blockCount: count)
        else {
            throw VolumeError(
                .geometry,
                "cannot use size \(sizeText(diskSize)): it means 2^32 blocks or more; decrease --size or increase --blockSize")
        }
        return geometry
    }
}

/// A size as users write it: with the largest suffix that divides it.
func sizeText(_ bytes: UInt64) -> String {
    var value = bytes
    var suffixes = ["", "k", "m", "g", "t", "p", "e"][...]
    while value >= 1024, value % 1024 == 0, suffixes.count > 1 {
        value /= 1024
        suffixes.removeFirst()
    }
    return String(value) + (suffixes.first ?? "")
}
