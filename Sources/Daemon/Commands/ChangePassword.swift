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
        try ObjectCommand(settings).run("changing the password of") { (store, process) async throws(VolumeError) in
            let objects = Stack.objects(
                over: store.objects, store.stackSettings, store.volumeOptions, timeline: process.timeline,
                jitter: { Double.random(in: 0..<1) }, logger: process.logger)
            try await VolumePassword.change(
                over: objects, store.volumeOptions, from: old, to: new, timeline: process.timeline, logger: process.logger)
        }
    }
}
