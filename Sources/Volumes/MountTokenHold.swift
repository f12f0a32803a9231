// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import Logging
public import ObjectStores
internal import Synchronization

/// Takes the mount token, gives it back, and takes it away from others.
///
/// Where the store keeps `If-None-Match: *`, only one of two mounts that start together can make the object. Whether the store
/// keeps it is tried, not believed: right after our own PUT the same PUT is sent once more, and must be refused. A store that
/// accepts it, or answers that it has no such function, gets the plain way: wait a second or two, of a length that differs from
/// mount to mount, then read the token back; whoever wrote last finds its own and stays. (Two PUTs that lie further apart than
/// that wait can still both pass; then ``MountTokenGuard`` finds out within a minute.)
///
/// - Concurrency: safe from anywhere; the lock is not held over I/O.
/// - Source: Docs/Formats/Direct.md "Mount token".
public final class MountTokenHold: Sendable {
    /// What is still to be thought of when the token is given back.
    struct Leaving {
        /// Until when an unanswered request for the token may arrive; nil when each was answered.
        var hazardEnds: Duration?
        /// The token whose DELETE is under way; see ``permitRepeat(of:over:_:)``.
        var deleting: MountToken?
    }
    /// See ``Leaving``.
    let leaving = Mutex(Leaving())
    /// The token's object.
    let object: MountTokenObject
    /// The clock of all waits.
    let timeline: any Timeline
    /// Where waits and what was found are told.
    let logger: Logger
    /// How long after its end an unanswered attempt may still be carried out; see ``SettlementLimits/window``.
    let window: Duration
    /// What messages call the volume: `bucket "b/vm1"`.
    let volume: String

    /// - Parameters:
    ///   - volume: What messages call the volume: `bucket "b/vm1"`.
    ///   - window: How long after its end an unanswered attempt may still be carried out.
    init(of object: MountTokenObject, volume: String, window: Duration, timeline: any Timeline, logger: Logger) {
        self.object = object
        self.volume = volume
        self.window = window
        self.timeline = timeline
        self.logger = logger
    }

    /// The token of the volume that `options` describe.
    public convenience init(
        over objects: any ObjectStore, _ options: VolumeOptions, timeline: any Timeline, logger: Logger
    ) {
        let object = MountTokenObject(in: objects, keys: options.keys, hostName: options.hostName, timeline: timeline)
        self.init(
            of: object, volume: options.description, window: options.limits.window, timeline: timeline, logger: logger)
    }

    /// Looks whether somebody has mounted the volume, and changes nothing; what a read-only mount does.
    ///
    /// - Parameter claim: What an earlier run left on this machine; its own token is nobody else's mount.
    /// - Throws: `.alreadyMounted` unless `isForced`; `.unsavedData` when the claim has data that must be written first; `.store`.
    public func look(isForced: Bool, _ claim: MountClaim?) async throws(VolumeError) {
        let found = try await read()
        if let claim, try passBy(found, by: claim) { return }
        guard let record = found else { return }
        guard isForced else { throw conflict(record) }
        warn(record)
    }

    /// Writes `token`, if nobody has mounted the volume; keeps the token of an earlier run on this machine.
    ///
    /// - Parameters:
    ///   - isForced: Whether a foreign token is overwritten. It says nothing about unsaved data.
    ///   - claim: What an earlier run left on this machine; nil when there is nothing that could outlive one.
    /// - Returns: The token that is held now: `token`, or that of the claim.
    /// - Throws: `.alreadyMounted` and `.unsavedData`, and the store is as it was; `.store`; what recording the token failed with.
    @discardableResult
    public func acquire(
        _ token: MountToken, isForced: Bool, _ claim: MountClaim?
    ) async throws(VolumeError) -> MountToken {
        let found = try await read()
        if let claim, let own = try takeOver(found, by: claim) { return own }
        if let record = found {
            guard isForced else { throw conflict(record) }
            warn(record)
            try claim?.record(token)
            _ = try await put(token, .none)
            try await requireOurs(token)
        } else {
            try claim?.record(token)
            if try await !acquireAtomically(token) { try await acquirePlainly(token) }
        }
        logger.info("established new mount token \(token)")
        return token
    }

    // MARK: Steps

    /// Makes the object on condition that there is none.
    ///
    /// - Returns: Whether the store keeps such conditions; if so, the object is ours, and nobody else's was overwritten.
    private func acquireAtomically(_ token: MountToken) async throws(VolumeError) -> Bool {
        switch try await put(token, .ifAbsent) {
        case .refused: return true
        case .unsupported: return false
        case .made: return try await put(token, .ifAbsent) == .refused
        }
    }

    /// Without conditions: the last writer wins, and everybody waits long enough to see who that was.
    private func acquirePlainly(_ token: MountToken) async throws(VolumeError) {
        if let record = try await read() {
            guard record.token == token else { throw conflict(record) }
        } else {
            _ = try await put(token, .none)
        }
        logger.warning(
            "the store does not keep If-None-Match: two mounts that start in the same moment may both succeed at first")
        let wait = Self.plainWait + token.spread
        do {
            try await timeline.sleep(until: timeline.now + wait)
        } catch {
            throw VolumeError(.store, "cannot mount \(volume): cancelled", cause: error)
        }
        try await requireOurs(token)
    }

    /// How long after the plain PUT the token is read back, at least; longer than a PUT takes.
    static let plainWait = Duration.seconds(1)

    private func requireOurs(_ token: MountToken) async throws(VolumeError) {
        guard let record = try await read() else {
            throw VolumeError(.alreadyMounted, "cannot mount \(volume): its mount token was removed while we mounted; try again")
        }
        guard record.token == token else { throw conflict(record) }
    }

    private enum Answer {
        /// The object is written.
        case made
        /// It was there already, and is ours.
        case refused
        /// The store has no conditions.
        case unsupported
    }

    /// Writes the token, conditionally or not.
    private func put(_ token: MountToken, _ condition: PutCondition) async throws(VolumeError) -> Answer {
        do {
            if try await !object.put(token, condition).isSettled { noteHazard() }
            return .made
        } catch {
            if error.outcomeIsUnknown { noteHazard() }
            switch error.code {
            case .preconditionFailed where condition != .none:
                return try await ownedAfterRefusal(token)
            case .notImplemented where condition != .none, .badRequest where condition != .none:
                return .unsupported
            default:
                // An attempt without an answer may have written it; then it is ours, and the mount need not fail.
                if error.outcomeIsUnknown, try await read()?.token == token { return .made }
                throw VolumeError(.store, "cannot set the mount token of \(volume): \(error.message)", cause: error)
            }
        }
    }

    /// A refusal means that the object exists: ours, from an attempt that got no answer, or somebody's who was faster.
    private func ownedAfterRefusal(_ token: MountToken) async throws(VolumeError) -> Answer {
        try await requireOurs(token)
        return .refused
    }

    /// Notes that a request for the token has just ended without an answer.
    ///
    /// - Returns: Until when it may arrive.
    @discardableResult
    func noteHazard() -> Duration {
        let hazardEnds = timeline.now + window
        leaving.withLock { $0.hazardEnds = hazardEnds }
        return hazardEnds
    }

    /// Reads the token.
    ///
    /// - Throws: `.store`.
    func read() async throws(VolumeError) -> MountTokenRecord? {
        do {
            return try await object.read(.foreground)
        } catch {
            throw VolumeError(.store, "cannot read the mount token of \(volume): \(error.message)", cause: error)
        }
    }

    /// The user's line for a token that could not be deleted.
    func cannotClear(_ cause: ObjectStoreError) -> VolumeError {
        VolumeError(.store, "cannot clear the mount token of \(volume): \(cause.message)", cause: cause)
    }

    private func conflict(_ record: MountTokenRecord) -> VolumeError {
        guard record.token != .sharedDisk else {
            return VolumeError(
                .alreadyMounted,
                "cannot mount \(volume): it is mounted in shared disk mode (\(record.summary)); "
                    + "if that is over, use --reset-mounted-flag")
        }
        return VolumeError(
            .alreadyMounted,
            "cannot mount \(volume): it appears to be already mounted (\(record.summary)); "
                + "if that process is gone, use --reset-mounted-flag, or --force to override")
    }

    private func warn(_ record: MountTokenRecord) {
        logger.warning(
            "the volume appears to be mounted already; continuing because of --force",
            metadata: ["volume": "\(volume)", "found": "\(record.summary)"])
    }
}
