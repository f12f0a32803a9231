// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import Logging
internal import Volumes

/// Removes the mount token that a process left behind which is gone. Sizes need not be known for it.
struct ResetMountToken {
    private let settings: Settings

    init(_ settings: Settings) { self.settings = settings }

    /// Removes the token, whoever holds it; none at all is as good.
    ///
    /// The token in a cache file stays: without unsaved data it counts for nothing.
    ///
    /// - Returns: The exit status.
    /// - Throws: When the store cannot be reached or refuses, and because of the cache file.
    func run() throws(UserError) -> Int32 {
        if let file = settings.cache?.file {
            let logger = Logger(label: "s3backer") { _ in SwiftLogNoOpLogHandler() }
            try Self.check(
                CacheFilePlace(file, volume: settings.volumeIdentity, isForced: false, logger: logger), of: settings.volumeName)
        }
        return try ObjectCommand(settings).run("resetting mount token for") { (store, process) async throws(VolumeError) in
            let hold = Stack.mountTokenHold(
                over: store.objects, store.stackSettings, store.volumeOptions, timeline: process.timeline,
                jitter: { Double.random(in: 0..<1) }, logger: process.logger)
            try await hold.reset()
        }
    }

    /// Refuses while a cache file has data that is tied to the token, or a process that uses it.
    ///
    /// - Parameter volume: What messages call the volume: `bucket "b/vm1"`.
    static func check(_ place: CacheFilePlace, of volume: String) throws(UserError) {
        let count: Int
        do throws(BlockStoreError) {
            count = try place.inspect() ?? 0
        } catch {
            throw UserError(
                "cannot reset the mount token of \(volume): \(error.message); without --blockCacheFile no cache file is looked at"
            )
        }
        guard count > 0 else { return }
        throw UserError(
            "cannot reset the mount token of \(volume): cache file \"\(place.path)\" holds \(count == 1 ? "1 block" : "\(count) blocks") "
                + "that the store does not have; mount the volume with it once, so that they are written")
    }
}
