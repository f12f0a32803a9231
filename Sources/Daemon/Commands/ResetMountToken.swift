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
        StopSignals.block()
        let process = ServingProcess(settings)
        StopSignals.start(process.stopping, logger: process.logger)
        process.logConfiguration(settings)
        let store = try Store.open(
            settings, password: nil, pool: process.bufferPool, timeline: process.timeline, logger: process.logger)
        let hold = Stack.mountTokenHold(
            over: store.objects, store.stackSettings, store.volumeOptions, timeline: process.timeline,
            jitter: { Double.random(in: 0..<1) }, logger: process.logger)
        if !settings.process.isQuiet { Console.say("resetting mount token for \(settings.volumeDescription)") }
        let failure = runBlocking(on: process.ioPool, stopping: process.stopping) { () async -> VolumeError? in
            do throws(VolumeError) {
                try await hold.reset()
                return nil
            } catch {
                return error
            }
        }
        process.ioPool.shutDown()
        if let failure { throw UserError(failure.message) }
        if !settings.process.isQuiet { Console.say("done") }
        return 0
    }
}
