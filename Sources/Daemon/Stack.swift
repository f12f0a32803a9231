// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
package import Cryptography
public import DataPath
public import Logging
public import ObjectStores
public import Volumes

/// How the layers are set, beside the volume itself.
public struct StackSettings: Sendable {
    /// How often and how long requests are repeated; nil leaves that layer out, as for local files.
    public var retry: RetryPolicy?
    /// What is remembered of changed objects, over a store that may answer with older ones; nil leaves that layer out.
    public var consistency: ConsistencyLimits?
    /// Whether each body that is read is compared with its ETag; not needed where the codec authenticates it.
    public var verifiesBodies: Bool
    /// Where bodies are hashed; nil for the executor of the caller.
    public var computing: (any TaskExecutor)?
    /// How many requests are in flight; nil leaves that layer out.
    public var limits: RequestLimits?
    /// How the block cache behaves; nil leaves that layer out.
    public var cache: BlockCacheSettings?
    /// How many requests of a survey are in flight; nil is no survey.
    public var surveyRequestsMax: Int?
    /// How many blocks of one request of the kernel are under way at once.
    public var fanOutMax: Int
    /// Whether the contract is checked between the layers (`--debug`).
    public var isChecked: Bool

    /// Spells out every setting.
    public init(
        retry: RetryPolicy?, consistency: ConsistencyLimits?, verifiesBodies: Bool, limits: RequestLimits?,
        cache: BlockCacheSettings?, surveyRequestsMax: Int?, fanOutMax: Int, isChecked: Bool, computing: (any TaskExecutor)? = nil
    ) {
        self.retry = retry
        self.consistency = consistency
        self.verifiesBodies = verifiesBodies
        self.limits = limits
        self.cache = cache
        self.surveyRequestsMax = surveyRequestsMax
        self.fanOutMax = fanOutMax
        self.isChecked = isChecked
        self.computing = computing
    }
}

/// All layers over an object store, in their order; this is the only place that knows it.
///
///     disk               BlockDisk            bytes to blocks, several at once
///     cache              BlockCache           parts of blocks, near; brings them to the store by itself
///                        (ReadModifyWrite     parts of blocks, where there is no cache)
///     zeroMap            ZeroMap              knows zeros
///     volume.blocks      DirectVolume         blocks to objects
///     retrying           RetryingObjectStore  the only retry loop of a request
///     consistency        ConsistencyGuard     believes no answer that is older than what was written
///                        VerifyingObjectStore believes no body that is not its ETag's
///                        LimitedObjectStore   how many at once, the foreground first
///                        the object store     S3Client, DirectoryObjectStore
///
/// Retrying stands above Limited, so that a request that pauses before its next attempt does not hold a place in flight; so does
/// the guard, whose changes may wait. Retrying stands above the guard, since what the guard does not believe is asked for again.
public struct Stack: Sendable {
    /// The top.
    public let disk: any Disk
    /// The volume, for its sizes, its token and its end.
    public let volume: Volume
    /// The block cache; its `run()` must run from before the first request until after the last flush.
    public let cache: BlockCache?
    /// The layer that knows zeros, for its figures.
    public let zeroMap: ZeroMap
    /// Finds out which blocks exist; nil where nobody wants to know. Somebody has to run it.
    public let survey: Survey?
    /// The layer that repeats requests, for its figures.
    public let retrying: RetryingObjectStore?
    /// The layer that remembers what was written, for its figures.
    public let consistency: ConsistencyGuard?

    /// The object layers that others ask, from the top.
    private struct ObjectLayers {
        var top: any ObjectStore
        var retrying: RetryingObjectStore?
        var consistency: ConsistencyGuard?
    }

    /// Puts the object layers over `store`.
    ///
    /// - Parameter keys: Which objects are blocks, and so are changed by this program alone.
    private static func objectLayers(
        over store: any ObjectStore, _ settings: StackSettings, keys: BlockKeyScheme, isSigned: Bool,
        timeline: any Timeline, jitter: @escaping @Sendable () -> Double, logger: Logger
    ) -> ObjectLayers {
        let checked = { (next: any ObjectStore) -> any ObjectStore in
            settings.isChecked ? CheckedObjectStore(over: next, logger: logger) : next
        }
        var layers = ObjectLayers(top: store)
        if let limits = settings.limits { layers.top = LimitedObjectStore(over: layers.top, limits: limits, logger: logger) }
        layers.top = checked(layers.top)
        if settings.verifiesBodies {
            layers.top = checked(VerifyingObjectStore(over: layers.top, computing: settings.computing, logger: logger))
        }
        if let limits = settings.consistency {
            let consistency = ConsistencyGuard(
                over: layers.top, limits: limits, guards: { keys.block(named: $0) != nil }, timeline: timeline, logger: logger)
            layers.consistency = consistency
            layers.top = checked(consistency)
        }
        guard let policy = settings.retry else { return layers }
        let retrying = RetryingObjectStore(
            over: layers.top, policy: policy, isSigned: isSigned, timeline: timeline, jitter: jitter, logger: logger)
        layers.retrying = retrying
        layers.top = retrying
        return layers
    }

    /// The object layers alone, for a command that opens no volume.
    package static func objects(
        over store: any ObjectStore, _ settings: StackSettings, _ options: VolumeOptions, timeline: any Timeline,
        jitter: @escaping @Sendable () -> Double, logger: Logger
    ) -> any ObjectStore {
        objectLayers(
            over: store, settings, keys: options.keys, isSigned: !options.isAnonymous, timeline: timeline, jitter: jitter,
            logger: logger
        ).top
    }

    /// The mount token of a volume that is not opened, over the object layers.
    static func mountTokenHold(
        over store: any ObjectStore, _ settings: StackSettings, _ options: VolumeOptions, timeline: any Timeline,
        jitter: @escaping @Sendable () -> Double, logger: Logger
    ) -> MountTokenHold {
        let objects = objectLayers(
            over: store, settings, keys: options.keys, isSigned: !options.isAnonymous, timeline: timeline, jitter: jitter,
            logger: logger)
        let hold = MountTokenHold(over: objects.top, options, timeline: timeline, logger: logger)
        objects.retrying?.askBeforeRepeats(hold.repeatPermit)
        return hold
    }

    /// Opens a volume and puts all layers together.
    ///
    /// - Parameters:
    ///   - token: Becomes the volume's mount token, unless the volume is only read, or is taken over with its old one.
    ///   - jitter: Gives a new number of 0 ..< 1 at each call, for pauses.
    ///   - onDetected: As in `Volume.open`.
    /// - Throws: As `Volume.open`; `.geometry` also when `settings.consistency` would come to a standstill on this volume;
    ///   `.cacheFile` and `.unsavedData` because of the cache file.
    public static func open(
        over store: any ObjectStore, _ settings: StackSettings, _ options: VolumeOptions, token: MountToken,
        pool: BufferPool, timeline: any Timeline, jitter: @escaping @Sendable () -> Double, logger: Logger,
        onDetected: @Sendable (GeometryDecision) -> Void = { _ in }
    ) async throws(VolumeError) -> Stack {
        try await open(
            over: store, settings, options, token: token, cacheFile: nil, keyParameters: .forVolumes, pool: pool,
            timeline: timeline, jitter: jitter, logger: logger, onDetected: onDetected)
    }

    /// As the public one.
    ///
    /// - Parameters:
    ///   - cacheFile: The file that keeps the cache; nil keeps it in memory. Whoever made it closes it, also after a failure.
    ///   - keyParameters: How hard the password of a new volume's key is to try.
    package static func open(
        over store: any ObjectStore, _ settings: StackSettings, _ options: VolumeOptions, token: MountToken,
        cacheFile: CacheFileCustody?, keyParameters: ScryptParameters, pool: BufferPool, timeline: any Timeline,
        jitter: @escaping @Sendable () -> Double,
        logger: Logger, onDetected: @Sendable (GeometryDecision) -> Void
    ) async throws(VolumeError) -> Stack {
        let objects = objectLayers(
            over: store, settings, keys: options.keys, isSigned: !options.isAnonymous, timeline: timeline, jitter: jitter,
            logger: logger)
        let volume = try await Volume.open(
            over: objects.top, options, token: token, keyParameters: keyParameters, pool: pool, timeline: timeline,
            logger: logger,
            onDetected: { decision throws(VolumeError) in
                try settings.consistency?.check(decision.geometry)
                onDetected(decision)
            },
            claim: { geometry, key throws(VolumeError) in
                guard let cacheFile, let cache = settings.cache else { return nil }
                return try cacheFile.open(
                    geometry, slotCount: cache.settings(for: geometry).slotCount, key: cache.file?.isPlain == true ? nil : key)
            })
        objects.retrying?.askBeforeRepeats(volume.repeatPermit)
        let checked = { (next: any BlockStore, name: String) -> any BlockStore in
            settings.isChecked ? CheckedStore(over: next, name: name, logger: logger) : next
        }
        let zeroMap = ZeroMap(over: checked(volume.blocks, "DirectVolume"))
        var blocks = checked(zeroMap, "ZeroMap")
        if options.isReadOnly { blocks = ReadOnlyStore(over: blocks) }
        let cache: BlockCache?
        do throws(VolumeError) {
            cache = try makeCache(
                over: blocks, settings.cache, of: volume, cacheFile, name: options.description, pool: pool, timeline: timeline,
                logger: logger)
        } catch {
            if cacheFile?.unsavedBlockCount ?? 0 == 0 { await volume.giveUp() }
            throw error
        }
        let parts: any PartialBlockStore = cache ?? ReadModifyWrite(over: blocks, pool: pool)
        let listeners: [any SurveyListener] = [zeroMap] + [cache].compactMap(\.self)
        let survey = settings.surveyRequestsMax.map {
            Survey(of: volume.blocks, spansMax: $0, listeners: listeners, timeline: timeline, logger: logger)
        }
        return Stack(
            disk: BlockDisk(over: parts, fanOutMax: settings.fanOutMax, isReadOnly: options.isReadOnly), volume: volume,
            cache: cache, zeroMap: zeroMap, survey: survey, retrying: objects.retrying, consistency: objects.consistency)
    }

    /// The block cache, in memory or in a file.
    ///
    /// - Parameter name: What messages call the volume.
    /// - Returns: Nil when there shall be none.
    /// - Throws: `.cacheFile`.
    private static func makeCache(
        over blocks: any BlockStore, _ settings: BlockCacheSettings?, of volume: Volume, _ cacheFile: CacheFileCustody?,
        name: String, pool: BufferPool, timeline: any Timeline, logger: Logger
    ) throws(VolumeError) -> BlockCache? {
        guard let settings else { return nil }
        let cache = settings.settings(for: volume.geometry)
        do throws(BlockStoreError) {
            let storage: any CacheStorage =
                if let cacheFile { cacheFile.storage } else {
                    try MemoryCacheStorage(slotCount: cache.slotCount, blockSize: volume.geometry.blockSize)
                }
            return try BlockCache(
                over: blocks, storage: storage, settings: cache, pool: pool, timeline: timeline, logger: logger)
        } catch {
            throw VolumeError(.cacheFile, "cannot mount \(name): \(error.message)", cause: error)
        }
    }
}
