// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import Logging
internal import ObjectStores

/// The look at block 0 before the first change of a volume.
extension DirectVolume {
    /// Whether block 0 has an object; where the sizes were not detected, also whether they are its sizes.
    ///
    /// Block 0 under its other name, with a hash or without, means that all blocks have such names.
    ///
    /// - Throws: `.corrupt` when the volume has other sizes or other names; else why the store could not be asked.
    func isFirstBlockPresent(_ context: IOContext) async throws(BlockStoreError) -> Bool {
        if case .present(let attributes) = try await lookForFirstBlock(keys, context) {
            if checksSizes {
                try compare(VolumeProbe.judge(attributes.metadata), keys.key(of: BlockObject.first))
                try compare(attributes.metadata.contentEncoding)
            }
            return true
        }
        guard checksSizes, case .present = try await lookForFirstBlock(keys.other, context) else { return false }
        let areHashed = keys.other.isHashed
        let problem = GeometryDecision.otherNames(keys.other.key(of: BlockObject.first), areHashed: areHashed)
        throw BlockStoreError(
            .corrupt, "cannot change the volume: \(problem); \(GeometryDecision.cureOfOtherNames(areHashed: areHashed))")
    }

    private func lookForFirstBlock(
        _ keys: BlockKeyScheme, _ context: IOContext
    ) async throws(BlockStoreError) -> ObjectHead {
        let key = keys.key(of: BlockObject.first)
        do throws(ObjectStoreError) {
            return try await store.head(key, context)
        } catch {
            fence?.noteFailure()
            throw BlockStoreError(error, doing: "look for the volume's first block (object \"\(key)\")")
        }
    }

    /// Compares the sizes in force with those that block 0 records.
    private func compare(_ probe: ProbeResult, _ key: ObjectKey) throws(BlockStoreError) {
        switch probe {
        case .found(let recorded) where recorded != geometry:
            throw BlockStoreError(
                .corrupt,
                "cannot change the volume: its first block (object \"\(key)\") records \(Self.text(recorded)), not "
                    + "\(Self.text(geometry)); leave out --noAutoDetect, --blockSize and --size to take the volume's own, or use "
                    + "--force to override")
        case .damaged(let problems):
            logger.warning(
                "the metadata of the volume's first block does not tell its sizes; the configured sizes are used unverified",
                metadata: ["object": "\(key)", "problems": "\(problems)"])
        case .found, .absent: break
        }
    }

    /// Refuses to put plain blocks beside encrypted ones; with encryption, blocks have been read before.
    private func compare(_ encoding: String?) throws(BlockStoreError) {
        guard !codec.isAuthenticating, let encoding, let name = EncryptionName.of(ContentEncoding(parsing: encoding)) else {
            return
        }
        throw BlockStoreError(.corrupt, "cannot change the volume: \(EncryptionName.cure(name))")
    }

    private static func text(_ geometry: BlockGeometry) -> String {
        "block size \(sizeText(UInt64(geometry.blockSize))) and size \(sizeText(geometry.sizeBytes))"
    }
}
