// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import Cryptography
public import DataPath
public import Logging
public import ObjectStores

/// The password of a volume that is encrypted with AES-256-GCM.
public enum VolumePassword {
    /// Changes the password: the key object alone is written anew. Blocks, and whoever has the volume mounted, notice nothing.
    ///
    /// A copy of the old key object still opens the volume with the old password.
    ///
    /// - Parameter options: Of which ``VolumeOptions/keys``, ``VolumeOptions/description`` and ``VolumeOptions/limits`` are used.
    /// - Throws: `.password` when `old` is not the volume's; `.encryption` when the volume has no key object, or one that cannot be
    ///   read; `.store` when the store failed. The message says which of the two passwords holds then, or that it is not known.
    /// - Source: Docs/Formats/Encryption.md "Changing the password".
    public static func change(
        over objects: any ObjectStore, _ options: VolumeOptions, from old: SecretBytes, to new: SecretBytes,
        timeline: any Timeline, logger: Logger
    ) async throws(VolumeError) {
        try await change(over: objects, options, from: old, to: new, .forVolumes, timeline: timeline, logger: logger)
    }

    /// As the public one; `parameters` say how hard the new password is to try.
    package static func change(
        over objects: any ObjectStore, _ options: VolumeOptions, from old: SecretBytes, to new: SecretBytes,
        _ parameters: ScryptParameters, timeline: any Timeline, logger: Logger
    ) async throws(VolumeError) {
        let object = VolumeKeyObject(in: objects, options, for: "change the password of", timeline: timeline, logger: logger)
        try await object.change(from: old, to: new, parameters)
    }
}
