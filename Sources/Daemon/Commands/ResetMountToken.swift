// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging
internal import Volumes

/// Removes the mount token that a process left behind which is gone. Sizes need not be known for it.
struct ResetMountToken {
    private let settings: Settings

    init(_ settings: Settings) { self.settings = settings }

    /// Removes the token, whoever holds it; none at all is as good.
    ///
    /// - Returns: The exit status.
    /// - Throws: When the store cannot be reached or refuses.
    func run() throws(UserError) -> Int32 {
        try ObjectCommand(settings).run("resetting mount token for") { (store, process) async throws(VolumeError) in
            let hold = Stack.mountTokenHold(
                over: store.objects, store.stackSettings, store.volumeOptions, timeline: process.timeline,
                jitter: { Double.random(in: 0..<1) }, logger: process.logger)
            try await hold.reset()
        }
    }
}
