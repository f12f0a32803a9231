// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
public import DataPath
public import Logging
public import ObjectStores
public import Volumes

/// How the layers are set, beside the volume itself.
public struct StackSettings: Sendable {
    /// How often and how long requests are repeated; nil leaves that layer out, as for local files.
    public var retry: RetryPolicy?
    /// How many requests are in flight; nil leaves that layer out.
    public var limits: RequestLimits?
    /// How many blocks of one request of the kernel are under way at once.
    public var fanOutMax: Int
    /// Whether the contract is checked between the layers (`--debug`).
    public var isChecked: Bool

    /// Spells out every setting.
    public init(retry: RetryPolicy?, limits: RequestLimits?, fanOutMax: Int, isChecked: Bool) {
        self.retry = retry
        self.limits = limits
        self.fanOutMax = fanOutMax
        self.isChecked = isChecked
    }
}

/// All layers over an object store, in their order; this is the only place that knows it.
///
///     disk               BlockDisk            bytes to blocks, several at once
///                        ReadModifyWrite      parts of blocks
///     zeroMap            ZeroMap              knows zeros
///     volume.blocks      DirectVolume         blocks to objects
///     retrying           RetryingObjectStore  the only retry loop of a request
///                        LimitedObjectStore   how many at once, the foreground first
///                        the object store     S3Client, DirectoryObjectStore
///
/// Retrying stands above Limited, so that a request that pauses before its next attempt does not hold a place in flight.
public struct Stack: Sendable {
    /// The top.
    public let disk: any Disk
    /// The volume, for its sizes, its token and its end.
    public let volume: Volume
    /// The layer that knows zeros, for its figures.
    public let zeroMap: ZeroMap
    /// The layer that repeats requests, for its figures.
    public let retrying: RetryingObjectStore?

    /// Puts the object layers over `store`.
    private static func objectLayers(
        over store: any ObjectStore, _ settings: StackSettings, isSigned: Bool, timeline: any Timeline,
        jitter: @escaping @Sendable () -> Double, logger: Logger
    ) -> (top: any ObjectStore, retrying: RetryingObjectStore?) {
        var top = store
        if let limits = settings.limits { top = LimitedObjectStore(over: top, limits: limits, logger: logger) }
        if settings.isChecked { top = CheckedObjectStore(over: top, logger: logger) }
        guard let policy = settings.retry else { return (top, nil) }
        let retrying = RetryingObjectStore(
            over: top, policy: policy, isSigned: isSigned, timeline: timeline, jitter: jitter, logger: logger)
        return (retrying, retrying)
    }

    /// The mount token of a volume that is not opened, over the object layers.
    static func mountTokenHold(
        over store: any ObjectStore, _ settings: StackSettings, _ options: VolumeOptions, timeline: any Timeline,
        jitter: @escaping @Sendable () -> Double, logger: Logger
    ) -> MountTokenHold {
        let objects = objectLayers(
            over: store, settings, isSigned: !options.isAnonymous, timeline: timeline, jitter: jitter, logger: logger)
        let hold = MountTokenHold(over: objects.top, options, timeline: timeline, logger: logger)
        objects.retrying?.askBeforeRepeats(hold.repeatPermit)
        return hold
    }

    /// Opens a volume and puts all layers together.
    ///
    /// - Parameters:
    ///   - token: Becomes the volume's mount token, unless the volume is only read.
    ///   - jitter: Gives a new number of 0 ..< 1 at each call, for pauses.
    ///   - onDetected: As in `Volume.open`.
    /// - Throws: As `Volume.open`.
    public static func open(
        over store: any ObjectStore, _ settings: StackSettings, _ options: VolumeOptions, token: MountToken,
        pool: BufferPool, timeline: any Timeline, jitter: @escaping @Sendable () -> Double, logger: Logger,
        onDetected: @Sendable (GeometryDecision) -> Void = { _ in }
    ) async throws(VolumeError) -> Stack {
        let objects = objectLayers(
            over: store, settings, isSigned: !options.isAnonymous, timeline: timeline, jitter: jitter, logger: logger)
        let volume = try await Volume.open(
            over: objects.top, options, token: token, pool: pool, timeline: timeline, logger: logger, onDetected: onDetected)
        objects.retrying?.askBeforeRepeats(volume.repeatPermit)
        let checked = { (next: any BlockStore, name: String) -> any BlockStore in
            settings.isChecked ? CheckedStore(over: next, name: name, logger: logger) : next
        }
        let zeroMap = ZeroMap(over: checked(volume.blocks, "DirectVolume"))
        var blocks = checked(zeroMap, "ZeroMap")
        if options.isReadOnly { blocks = ReadOnlyStore(over: blocks) }
        let disk = BlockDisk(
            over: ReadModifyWrite(over: blocks, pool: pool), fanOutMax: settings.fanOutMax, isReadOnly: options.isReadOnly)
        return Stack(disk: disk, volume: volume, zeroMap: zeroMap, retrying: objects.retrying)
    }
}
