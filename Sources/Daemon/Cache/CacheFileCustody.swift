// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

package import BlockStores
package import Cryptography
package import Logging
internal import Synchronization
package import Volumes

/// The cache file of one mount, from the moment when the sizes are known to the end.
///
///     start   sizes and key known -> open, lock -> claim: token and unsaved data -> mount token -> storage
///     end     everything in the store -> token given back -> token struck out in the file -> close
///             not everything          -> token stays in both                              -> close
///
/// With `--recoverDirty=discard` the file is renamed only when the mount token is about to be taken, so that a mount that is
/// refused changes nothing.
///
/// - Concurrency: safe from anywhere; called by the start and the end of a mount, one after the other.
/// - Source: Docs/Semantics.md "The cache file".
package final class CacheFileCustody: Sendable {
    private struct State {
        var file: (any OpenCacheFile)?
        /// Opens the file again, after it was renamed.
        var reopen: (@Sendable () throws(BlockStoreError) -> any OpenCacheFile)?
        var isDiscarding = false
    }
    private let state = Mutex(State())
    private let place: CacheFilePlace
    private let recovery: CacheFileSettings.DirtyRecovery?
    private let volume: String
    private let logger: Logger

    /// - Parameters:
    ///   - recovery: What the user wants done with unsaved data of a volume that has been used otherwise since.
    ///   - volume: What messages call the volume: `bucket "b/vm1"`.
    package init(
        of place: CacheFilePlace, _ recovery: CacheFileSettings.DirtyRecovery?, volume: String, logger: Logger
    ) {
        self.place = place
        self.recovery = recovery
        self.volume = volume
        self.logger = logger
    }

    /// Where it is.
    package var path: String { place.path }

    /// What messages call it: `cache file "/var/cache/vm1"`.
    package var name: String { "cache file \"\(place.path)\"" }

    /// Opens the file.
    ///
    /// - Parameters:
    ///   - slotCount: How many blocks it shall hold.
    ///   - key: What its data is encrypted with, 32 bytes; nil keeps it plain.
    /// - Returns: What it says about the mount token.
    /// - Throws: `.cacheFile`.
    package func open(_ geometry: BlockGeometry, slotCount: Int, key: SecretBytes?) throws(VolumeError) -> MountClaim {
        let open = { @Sendable [place] () throws(BlockStoreError) in try place.open(geometry, slotCount, key) }
        let file = try mounting(open)
        let isDiscarding = recovery == .discard && file.unsavedBlockCount > 0
        state.withLock { state in
            state.file = file
            state.reopen = open
            state.isDiscarding = isDiscarding
        }
        return MountClaim(
            place: name, token: file.token.flatMap { MountToken(recorded: $0) }, unsavedBlockCount: file.unsavedBlockCount,
            isDoubtful: file.isDoubtful, decision: recovery.map { $0 == .apply ? .apply : .discard } ?? .undecided
        ) { [self] token throws(VolumeError) in
            try record(token)
        }
    }

    /// How many blocks the file holds from an earlier run that the store does not have; none once they are set aside.
    package var unsavedBlockCount: Int { state.withLock { $0.isDiscarding ? 0 : $0.file?.unsavedBlockCount ?? 0 } }

    /// The place for blocks, in the file that ``open(_:slotCount:key:)`` opened.
    package var storage: any CacheStorage {
        guard let file = state.withLock({ $0.file }) else { preconditionFailure("a cache file is opened before it is used") }
        return file
    }

    /// Whether what a ``commit()`` has made durable is found again by the next mount.
    package var isTrusted: Bool { state.withLock { $0.file?.isTrusted ?? false } }

    /// Makes durable what the cache has written to the file.
    ///
    /// - Throws: `.io` when that failed.
    package func commit() async throws(BlockStoreError) { try await state.withLock({ $0.file })?.commit() }

    /// Closes the file.
    ///
    /// - Parameter isInOrder: Whether the store has everything and the mount token was given back.
    package func close(isInOrder: Bool) async {
        let file = state.withLock { state in
            defer { state.file = nil }
            return state.file
        }
        do throws(BlockStoreError) {
            try await file?.close(keepsToken: !isInOrder)
        } catch {
            // Harmless: without unsaved data a token that is not in the store counts for nothing, and with it the token stays.
            logger.warning("cannot close the cache file in order", metadata: ["cause": "\(error.message)"])
        }
    }

    /// Records the token of the mount that begins, in a new file if the old one is to be discarded.
    private func record(_ token: MountToken) throws(VolumeError) {
        try mounting { () throws(BlockStoreError) in
            if state.withLock({ $0.isDiscarding }) { try discard() }
            try state.withLock({ $0.file })?.record(token: token.rawValue)
        }
    }

    private func discard() throws(BlockStoreError) {
        let (count, reopen) = state.withLock { ($0.file?.unsavedBlockCount ?? 0, $0.reopen) }
        guard let reopen else { preconditionFailure("a cache file is opened before it is discarded") }
        let path = try place.setAside()
        logger.warning(
            "a cache file with unsaved data was set aside because of --recoverDirty=discard; remove it when it is not wanted",
            metadata: ["file": "\(place.path)", "now": "\(path)", "unsaved": "\(count)"])
        let fresh = try reopen()
        state.withLock { state in
            state.file = fresh
            state.isDiscarding = false
        }
    }

    /// Gives a failure the volume's name.
    private func mounting<Result>(_ body: () throws(BlockStoreError) -> Result) throws(VolumeError) -> Result {
        do throws(BlockStoreError) {
            return try body()
        } catch {
            throw VolumeError(.cacheFile, "cannot mount \(volume): \(error.message)", cause: error)
        }
    }
}
