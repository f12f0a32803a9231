// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging
internal import Volumes

/// A command that changes one object of a volume, in the foreground, and opens no volume.
struct ObjectCommand {
    private let settings: Settings

    init(_ settings: Settings) { self.settings = settings }

    /// Opens the store, says what is done, and does it. A signal cancels it.
    ///
    /// - Parameters:
    ///   - deed: What is done, to be followed by the volume: `resetting mount token for`.
    ///   - work: Does it; a failure's message is the user's line.
    /// - Returns: The exit status.
    /// - Throws: When the store cannot be opened, and the failure of `work`.
    func run(
        _ deed: String, _ work: @escaping @Sendable (Store, ServingProcess) async throws(VolumeError) -> Void
    ) throws(UserError) -> Int32 {
        StopSignals.block()
        let process = ServingProcess(settings)
        StopSignals.start(process.stopping, logger: process.logger)
        process.logConfiguration(settings)
        let store = try Store.open(
            settings, password: nil, process)
        if !settings.process.isQuiet { Console.say("\(deed) \(settings.volumeDescription)") }
        let failure = runBlocking(on: process.ioPool, stopping: process.stopping) { () async -> VolumeError? in
            do throws(VolumeError) {
                try await work(store, process)
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
