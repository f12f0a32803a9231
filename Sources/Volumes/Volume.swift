// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
package import Cryptography
public import DataPath
public import Logging
public import ObjectStores

/// A volume of the direct layout, open: its sizes, its blocks, and its mount token.
///
///     open:      sizes (block 0)  ->  password tried  ->  mount token taken, or taken over  ->  key of a new volume made  ->  blocks
///     shutDown:  flush from the top  ->  late attempts over and confirmed  ->  mount token given back
///
/// The layers above ``blocks`` are the Daemon's to compose. The mount token goes last: while it stands, nobody else mounts, so
/// nobody else sees a volume whose last blocks are still on their way.
///
/// - Concurrency: safe from anywhere; ``shutDown(flushing:)`` is called once.
public final class Volume: Sendable {
    /// The blocks, on the objects.
    public let blocks: DirectVolume
    /// Where the sizes came from, and what the user should know.
    public let decision: GeometryDecision
    /// The token that this mount holds; nil when it holds none (read-only, or no tokens at all).
    public var mountToken: MountToken? { blocks.fence?.token }
    /// The sizes.
    public var geometry: BlockGeometry { blocks.geometry }

    /// What a `RetryingObjectStore` below must ask before it sends a change again; nil where nobody else can have the volume.
    public var repeatPermit: RepeatPermit? {
        guard let fence = blocks.fence, let hold else { return nil }
        // Weak: the store that keeps it is kept by both.
        return { [weak fence, weak hold] (mutation, store, context) async throws(ObjectStoreError) in
            // The token itself is not guarded by itself: when it is given back, it is meant to go.
            if mutation.key == hold?.object.key {
                try await hold?.permitRepeat(of: mutation, over: store, context)
            } else {
                try await fence?.permitRepeat(of: mutation, over: store, context)
            }
        }
    }

    /// What the key is for under which data of a volume is kept on a local disk, as its derivation says it.
    ///
    /// The key is made from that of the volume's blocks, and of no use to find that out: whoever has the cache and its key cannot
    /// read the bucket.
    ///
    /// - Source: Docs/Formats/Encryption.md "The key of the cache file".
    static let cacheKeyLabel = "s3backer cache file 1"

    private let hold: MountTokenHold?
    private let timeline: any Timeline
    private let logger: Logger

    private init(
        blocks: DirectVolume, decision: GeometryDecision, hold: MountTokenHold?, timeline: any Timeline, logger: Logger
    ) {
        self.blocks = blocks
        self.decision = decision
        self.hold = hold
        self.timeline = timeline
        self.logger = logger
    }

    /// Finds out a volume's sizes.
    ///
    /// Without detection and with both sizes nothing is asked; a single one is never completed by a guess.
    ///
    /// - Throws: `.geometry` when they are not known or not possible; `.store`. Nothing has been changed then.
    public static func detect(
        over objects: any ObjectStore, _ options: VolumeOptions
    ) async throws(VolumeError) -> (answer: ProbeAnswer?, decision: GeometryDecision) {
        let asks = options.detectsSizes || options.sizes.blockSize == nil || options.sizes.diskSize == nil
        let answer = asks ? try await probe(objects, options).run() : nil
        let decision = try GeometryDecision.decide(
            probe: answer?.result, configured: options.sizes, detectsSizes: options.detectsSizes, isForced: options.isForced)
        return (answer, decision)
    }

    private static func probe(_ objects: any ObjectStore, _ options: VolumeOptions) -> VolumeProbe {
        VolumeProbe(of: objects, keys: options.keys, isAnonymous: options.isAnonymous)
    }

    /// Opens a volume.
    ///
    /// With encryption configured, a block that exists is read first and must be authentic, so that a wrong password ends the
    /// mount before anything is written.
    ///
    /// - Parameters:
    ///   - token: Fresh; becomes the volume's mount token unless it is only read.
    ///   - onDetected: Told the sizes, and where they came from, before the mount token is looked at; may refuse them.
    /// - Throws: As ``detect(over:_:)``; `.password`, `.encryption` and `.alreadyMounted`. Nothing has been changed then, unless
    ///   `.store` says that setting the token or making a new volume's key failed, which may have happened all the same.
    public static func open(
        over objects: any ObjectStore, _ options: VolumeOptions, token: MountToken, pool: BufferPool,
        timeline: any Timeline, logger: Logger,
        onDetected: @Sendable (GeometryDecision) throws(VolumeError) -> Void = { _ in }
    ) async throws(VolumeError) -> Volume {
        try await open(
            over: objects, options, token: token, keyParameters: .forVolumes, pool: pool, timeline: timeline, logger: logger,
            onDetected: onDetected, claim: { _, _ in nil })
    }

    /// As the public one.
    ///
    /// - Parameters:
    ///   - keyParameters: How hard the password of a new key object is to try.
    ///   - claim: Finds what an earlier run left on this machine, once the sizes are known, and the key that such data is
    ///     encrypted with (``cacheKeyLabel``; nil without encryption), and before the mount token is looked at.
    package static func open(
        over objects: any ObjectStore, _ options: VolumeOptions, token: MountToken, keyParameters: ScryptParameters,
        pool: BufferPool, timeline: any Timeline, logger: Logger,
        onDetected: @Sendable (GeometryDecision) throws(VolumeError) -> Void,
        claim makeClaim: @Sendable (BlockGeometry, SecretBytes?) throws(VolumeError) -> MountClaim?
    ) async throws(VolumeError) -> Volume {
        let (answer, decision) = try await detect(over: objects, options)
        try onDetected(decision)
        let opening = CodecOpening(
            options: options, geometry: decision.geometry, probe: probe(objects, options), pool: pool, timeline: timeline,
            logger: logger, keyParameters: keyParameters)
        let outcome = try await opening.check(answer)
        var claim: MountClaim?
        if case .ready(let codec) = outcome { claim = try makeClaim(decision.geometry, codec.derivedKey(for: cacheKeyLabel)) }
        let hold = MountTokenHold(over: objects, options, timeline: timeline, logger: logger)
        var fence: MountTokenGuard?
        if options.usesMountToken {
            if options.isReadOnly {
                try await hold.look(isForced: options.isForced, claim)
            } else {
                let held = try await hold.acquire(token, isForced: options.isForced, claim)
                fence = MountTokenGuard(token: held, in: hold.object, timeline: timeline, logger: logger)
            }
        }
        let codec: CodecStack
        do throws(VolumeError) {
            switch outcome {
            case .ready(let stack): codec = stack
            case .needsKey:
                codec = try await opening.makeKey(token)
                // A new volume: what is there was not its own, and the file gets the token as soon as there is a key for it.
                claim = try makeClaim(decision.geometry, codec.derivedKey(for: cacheKeyLabel))
                if let claim {
                    _ = try hold.takeOver(nil, by: claim)
                    try claim.record(token)
                }
            }
        } catch {
            if let fence { await giveUp(fence.token, hold, logger) }
            throw error
        }
        let blocks = DirectVolume(
            over: objects, keys: options.keys, geometry: decision.geometry, codec: codec, computing: options.codec.computing,
            isFirstBlockPresent: answer?.result.isFirstBlockPresent ?? false,
            checksSizes: answer == nil && !options.isForced, fence: fence, limits: options.limits, timeline: timeline,
            logger: logger)
        return Volume(
            blocks: blocks, decision: decision, hold: fence == nil ? nil : hold,
            timeline: timeline, logger: logger)
    }

    /// Gives the mount token back when the layers above could not be made: nothing was written. Not where data of an earlier run
    /// waits to be written under it.
    package func giveUp() async {
        guard let hold, let mountToken else { return }
        await Self.giveUp(mountToken, hold, logger)
    }

    /// Gives the mount token of an opening back that failed after it was taken.
    private static func giveUp(_ token: MountToken, _ hold: MountTokenHold, _ logger: Logger) async {
        // No request is sent for a cancelled task; whoever cancelled the start withdraws the token.
        guard !Task.isCancelled else { return }
        do throws(VolumeError) {
            try await hold.release(token)
        } catch {
            logger.warning("\(error.message)", metadata: ["next": "use --reset-mounted-flag"])
        }
    }

    /// Looks after blocks that a late attempt may have changed, until the task is cancelled.
    ///
    /// A flush confirms them too; this is for the attempt that arrives after the last flush. It costs nothing while every
    /// attempt gets its answer.
    public func run() async {
        while true {
            do {
                try await timeline.sleep(until: timeline.now + blocks.settlement.window / 2)
            } catch {
                return
            }
            do {
                try await blocks.confirmOverdue()
            } catch {
                logger.warning("\(error)", metadata: ["next": "with the next flush, or in \(blocks.settlement.window / 2)"])
            }
        }
    }

    /// Ends the use of the volume: flushes, waits out and confirms what may arrive late, gives the mount token back.
    ///
    /// - Parameter disk: The top of the stack over ``blocks``; nobody changes it any more.
    /// - Throws: Why the flush failed, or the token could not be given back. In the first case the token is still held, and the
    ///   caller may try again; `.fenced` says that it is not ours, and trying again is no use.
    public func shutDown(flushing disk: any Disk) async throws(BlockStoreError) {
        try await disk.flush(nil)
        try await blocks.settleAll()
        guard let hold, let mountToken else { return }
        do {
            try await hold.release(mountToken)
        } catch {
            throw BlockStoreError(.io, error.message, cause: error)
        }
    }
}
