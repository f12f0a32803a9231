// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Logging

/// The decision about a volume for which this machine holds the cache of an earlier run; see ``MountClaim``.
extension MountTokenHold {
    /// Takes the volume over if the token in the store is that of `claim`; refuses where data of the claim may not belong there
    /// any more.
    ///
    /// - Parameter record: What the store has; nil when it has no token.
    /// - Returns: The token that is held now; nil when the usual rules are to decide.
    /// - Throws: `.unsavedData`; what recording the token failed with.
    func takeOver(_ record: MountTokenRecord?, by claim: MountClaim) throws(VolumeError) -> MountToken? {
        let isDiscarded = claim.decision == .discard && claim.unsavedBlockCount > 0
        if claim.isOf(record), let token = claim.token {
            guard claim.unsavedBlockCount == 0 || !claim.isDoubtful || claim.decision != .undecided else { throw doubtful(claim) }
            if isDiscarded { try claim.record(token) }
            logger.notice(
                "continuing with the mount token of an earlier run on this machine, which did not end in order",
                metadata: ["token": "\(token)", "found": "\(claim.place)", "unsaved": "\(claim.unsavedBlockCount)"])
            return token
        }
        guard claim.unsavedBlockCount > 0, !isDiscarded else { return nil }
        guard claim.decision == .apply else { throw unsaved(record, claim) }
        logger.warning(
            "writing unsaved data over what is in the store now, because of --recoverDirty=apply",
            metadata: [
                "found": "\(claim.place)", "unsaved": "\(claim.unsavedBlockCount)",
                "token": "\(record.map { $0.token.description } ?? "none")",
            ])
        return nil
    }

    /// As ``takeOver(_:by:)`` for a mount that only reads.
    ///
    /// - Returns: Whether the token in the store is that of the claim, so that nobody has mounted the volume.
    /// - Throws: `.unsavedData`, whatever the token: it cannot be written, and without it old data would be read.
    func passBy(_ record: MountTokenRecord?, by claim: MountClaim) throws(VolumeError) -> Bool {
        guard claim.unsavedBlockCount == 0 else {
            throw VolumeError(
                .unsavedData,
                "cannot mount \(volume) read-only: \(claim.place) holds \(claim.unsavedBlocks) that the store does not have; "
                    + "mount it once without --readOnly, so that they are written")
        }
        return claim.isOf(record)
    }

    private func doubtful(_ claim: MountClaim) -> VolumeError {
        VolumeError(
            .unsavedData,
            "cannot mount \(volume): \(claim.place) holds \(claim.unsavedBlocks) that the store does not have, but the local disk "
                + "has failed since, so they may be older than what was flushed; use --recoverDirty=apply to write them all the "
                + "same, or --recoverDirty=discard to set the file aside")
    }

    private func unsaved(_ record: MountTokenRecord?, _ claim: MountClaim) -> VolumeError {
        let recorded = claim.token.map { "token \($0)" } ?? "no token"
        let found = record.map { "the volume has \($0.summary)" } ?? "the volume has no mount token any more"
        return VolumeError(
            .unsavedData,
            "cannot mount \(volume): \(claim.place) holds \(claim.unsavedBlocks) that the store does not have, written under "
                + "\(recorded), but \(found), so others may have written since; use --recoverDirty=apply to write them over that, or "
                + "--recoverDirty=discard to set the file aside")
    }
}
