// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import DataPath
internal import Logging
internal import Volumes

/// Changes the password of a volume that is encrypted with AES-256-GCM: rewrites the object that holds its key, and no block.
///
/// The volume may be mounted meanwhile; that mount has the key already.
struct ChangePassword {
    private let settings: Settings

    init(_ settings: Settings) { self.settings = settings }

    /// Changes the password.
    ///
    /// - Returns: The exit status.
    /// - Throws: When the old password is wrong, the volume has no such key, or the store cannot be reached or refuses.
    func run(from old: SecretBytes, to new: SecretBytes) throws(UserError) -> Int32 {
        StopSignals.block()
        let process = ServingProcess(settings)
        StopSignals.start(process.stopping, logger: process.logger)
        process.logConfiguration(settings)
        let store = try Store.open(
            settings, password: nil, pool: process.bufferPool, timeline: process.timeline, logger: process.logger)
        let objects = Stack.objects(
            over: store.objects, store.stackSettings, store.volumeOptions, timeline: process.timeline,
            jitter: { Double.random(in: 0..<1) }, logger: process.logger)
        if !settings.process.isQuiet { Console.say("changing the password of \(settings.volumeDescription)") }
        let failure = runBlocking(on: process.ioPool, stopping: process.stopping) { () async -> VolumeError? in
            do throws(VolumeError) {
                try await VolumePassword.change(
                    over: objects, store.volumeOptions, from: old, to: new, timeline: process.timeline, logger: process.logger)
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
