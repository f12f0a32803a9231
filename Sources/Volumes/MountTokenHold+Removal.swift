// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging
public import ObjectStores
internal import Synchronization

/// How the token is deleted: with one attempt on its way at a time.
///
/// A DELETE of which nobody knows whether it will still be carried out must not outlive the token that it means: it would remove
/// the token of the next mount, and let a third one in beside it. So an attempt without an answer is not simply repeated:
///
///     no answer --> look: gone --> done; that was it        still there --> wait out the window --> look --> try again
///
/// While the token stands nobody else mounts, and once it is gone the only attempt on its way has arrived. A PUT without an
/// answer is waited for before the first DELETE: it would bring the token back, and the next mount would be refused or lose its
/// own.
extension MountTokenHold {
    /// Deletes the token if it is still ours; waits first until no earlier request of ours for it can arrive any more.
    ///
    /// - Throws: `.store`.
    public func release(_ token: MountToken) async throws(VolumeError) {
        if let hazardEnds = leaving.withLock({ $0.hazardEnds }) {
            do throws(ObjectStoreError) {
                try await wait(until: hazardEnds)
            } catch {
                throw cannotClear(error)
            }
        }
        guard let record = try await read() else {
            return logger.warning("mount token was already gone", metadata: ["ours": "\(token)"])
        }
        guard record.token == token else {
            return logger.warning(
                "leaving the mount token alone: it is not ours any more", metadata: ["found": "\(record.summary)"])
        }
        try await delete(token)
        logger.info("cleared mount token \(token)")
    }

    /// Deletes the token if it is `token`; what an ``acquire(_:isForced:)`` that was broken off may have left behind.
    ///
    /// - Throws: `.store`.
    public func withdraw(_ token: MountToken) async throws(VolumeError) {
        guard try await read()?.token == token else { return }
        try await delete(token)
    }

    /// Deletes the token, whoever holds it now; the token of a mount that comes while this waits is left alone.
    ///
    /// - Throws: `.store`.
    public func reset() async throws(VolumeError) {
        guard let record = try await read() else { return }
        try await delete(record.token)
    }

    /// What a `RetryingObjectStore` below must ask before it sends a change again, when only the token is changed.
    public var repeatPermit: RepeatPermit {
        // Weak: the store that keeps it is kept by the hold.
        { [weak self] (mutation, store, context) async throws(ObjectStoreError) in
            try await self?.permitRepeat(of: mutation, over: store, context)
        }
    }

    /// Waits, before a DELETE of the token is sent again, until no earlier attempt can arrive any more.
    ///
    /// - Throws: `.fenced` when the token is gone, so that there is nothing left to delete; `.cancelled`; the failure of the
    ///   look.
    func permitRepeat(
        of mutation: RepeatedMutation, over store: any ObjectStore, _ context: IOContext
    ) async throws(ObjectStoreError) {
        guard mutation.key == object.key, let lastUnknownAt = mutation.lastUnknownAt else { return }
        guard let token = leaving.withLock({ $0.deleting }) else { return }
        if try await !isGone(token, from: store, context) {
            guard timeline.now < lastUnknownAt + window else { return }
            try await wait(until: lastUnknownAt + window)
            guard try await isGone(token, from: store, context) else { return }
        }
        throw ObjectStoreError(.fenced, "mount token \(token) is gone", outcomeIsUnknown: false)
    }

    /// Deletes the object, which holds `token`.
    private func delete(_ token: MountToken) async throws(VolumeError) {
        leaving.withLock { $0.deleting = token }
        defer { leaving.withLock { $0.deleting = nil } }
        do throws(ObjectStoreError) {
            // An attempt without an answer before this success had its time; see `permitRepeat`.
            try await object.delete()
        } catch {
            do throws(ObjectStoreError) {
                guard try await isGoneAfterFailure(token, error) else { throw error }
            } catch {
                throw cannotClear(error)
            }
        }
    }

    /// Looks whether a DELETE that failed was carried out, at the latest when its time is over.
    private func isGoneAfterFailure(_ token: MountToken, _ failure: ObjectStoreError) async throws(ObjectStoreError) -> Bool {
        if failure.code == .fenced { return true }
        guard failure.outcomeIsUnknown else { return false }
        let hazardEnds = noteHazard()
        guard failure.code != .cancelled else { return false }
        if try await isGone(token, from: nil, .foreground) { return true }
        try await wait(until: hazardEnds)
        return try await isGone(token, from: nil, .foreground)
    }

    /// - Parameter store: Where to look; nil: where the object was opened.
    private func isGone(
        _ token: MountToken, from store: (any ObjectStore)?, _ context: IOContext
    ) async throws(ObjectStoreError) -> Bool {
        let record = if let store { try await object.read(from: store, context) } else { try await object.read(context) }
        return record?.token != token
    }

    private func wait(until moment: Duration) async throws(ObjectStoreError) {
        let left = moment - timeline.now
        guard left > .zero else { return }
        logger.notice(
            "waiting until unanswered requests for the mount token can no longer arrive; a signal ends the wait",
            metadata: ["seconds": "\(left.components.seconds)"])
        do {
            try await timeline.sleep(until: moment)
        } catch {
            throw ObjectStoreError(
                .cancelled, "cancelled while waiting until unanswered requests can no longer arrive", outcomeIsUnknown: true,
                cause: error)
        }
    }
}
