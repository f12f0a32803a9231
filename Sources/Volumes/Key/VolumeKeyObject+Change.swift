// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Logging
internal import ObjectStores

/// A change of password: the same volume and key, wrapped anew.
///
/// The object is replaced whole or not at all, so one of the two passwords holds at any moment. After a failure it is read again,
/// and the message says which.
extension VolumeKeyObject {
    /// Replaces the object that `old` unlocks by one that `new` unlocks.
    ///
    /// - Throws: `.password` when `old` does not unlock it; `.encryption` when it is missing or cannot be read; `.store`.
    func change(
        from old: SecretBytes, to new: SecretBytes, _ parameters: ScryptParameters
    ) async throws(VolumeError) {
        guard let found = try await read() else {
            throw failure(
                .encryption,
                "it has no key object \"\(key)\": it is not encrypted with AES-256-GCM, or the object was lost, and must be restored "
                    + "from a copy")
        }
        let volumeKey = try unlock(found.record, by: old, called: "the old password")
        let record = try wrap(volumeKey, by: new, parameters)
        do throws(ObjectStoreError) {
            try await replace(found, by: record)
        } catch {
            return try await resolve(found.record, record, after: error)
        }
        guard let now = try await readBack("it was written, so the new password should hold") else { throw gone() }
        guard now == record else {
            guard now == found.record else { throw overtaken() }
            throw failure(
                .store, "the store accepted the new key object \"\(key)\" and still shows the old one; either password may hold")
        }
        _ = try unlock(now, by: new, called: "the new password")
    }

    /// Writes `record` in place of what was found, if that is still there.
    private func replace(_ found: Found, by record: VolumeKeyRecord) async throws(ObjectStoreError) {
        if let eTag = found.eTag, BlockObject.isStrong(eTag) {
            do throws(ObjectStoreError) {
                _ = try await put(record, .ifMatch(eTag))
                return
            } catch {
                guard [.notImplemented, .badRequest].contains(error.code), !error.outcomeIsUnknown else { throw error }
            }
        }
        // Without the condition a look right before has to do: the change of somebody else in between is overwritten, and
        // he finds that when he reads back.
        let isUnchanged: Bool
        do throws(VolumeError) {
            isUnchanged = try await read()?.record == found.record
        } catch {
            throw ObjectStoreError(.io, error.message, outcomeIsUnknown: false, cause: error)
        }
        guard isUnchanged else {
            throw ObjectStoreError(.preconditionFailed, "somebody else changed it in the meantime", outcomeIsUnknown: false)
        }
        _ = try await put(record, .none)
    }

    /// Finds out what holds after a PUT that failed, waiting first where it may still be carried out.
    ///
    /// - Throws: Unless the new password holds.
    private func resolve(
        _ old: VolumeKeyRecord, _ new: VolumeKeyRecord, after error: ObjectStoreError
    ) async throws(VolumeError) {
        let because = "\(error.message); it is not known which password holds"
        guard var now = try await readBack(because) else { throw gone() }
        if now == old, error.outcomeIsUnknown {
            logger.warning(
                "the key object may still be replaced by a request without an answer; waiting until that is over",
                metadata: ["object": "\(key)", "seconds": "\(window.components.seconds)"])
            do throws(VolumeError) {
                try await sleep(window)
            } catch {
                throw failure(.store, because, cause: error)
            }
            guard let later = try await readBack(because) else { throw gone() }
            now = later
        }
        switch now {
        case new: return
        case old: throw failure(.store, "\(error.message); the old password holds", cause: error)
        default: throw overtaken()
        }
    }

    /// Reads the record after a write.
    ///
    /// - Parameter state: What is known without, for the message of a failure.
    private func readBack(_ state: String) async throws(VolumeError) -> VolumeKeyRecord? {
        do throws(VolumeError) {
            return try await read()?.record
        } catch {
            throw failure(error.code, "\(state), but its key object \"\(key)\" cannot be read back; try both", cause: error)
        }
    }

    private func overtaken() -> VolumeError {
        failure(.store, "somebody else changed its key object \"\(key)\" at the same time; his password holds")
    }

    private func gone() -> VolumeError {
        failure(.encryption, "its key object \"\(key)\" has been deleted at the same time; restore it from a copy at once")
    }
}
