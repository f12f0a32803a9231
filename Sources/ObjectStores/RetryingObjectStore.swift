// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import Logging
internal import Synchronization

/// Tries failed requests again: the only retry loop of the program.
///
/// Every verb may be repeated safely. Reads change nothing. A PUT without condition and a DELETE bring the same state twice. A
/// conditional PUT can do harm only by its own success: when an attempt was carried out but its answer lost, the next one
/// meets its own object and is answered 412. Then the object is read, and our own content is success.
///
/// - Concurrency: each request pauses by itself; nothing is shared but counters. Cancelling ends a pause at once.
/// - Source: Docs/Semantics.md "Failures"; RFC 9110 section 10.2.3 (Retry-After).
public final class RetryingObjectStore: ObjectStore {
    private let next: any ObjectStore
    private let policy: RetryPolicy
    private let isSigned: Bool
    private let timeline: any Timeline
    private let jitter: @Sendable () -> Double
    private let logger: Logger
    private let hasSucceeded = Atomic<Bool>(false)
    private let counters = Mutex(RetryStatistics())
    private let repeatPermit = Mutex<RepeatPermit?>(nil)

    /// Makes the layer.
    ///
    /// - Parameters:
    ///   - next: The store whose requests are repeated.
    ///   - isSigned: Whether requests carry a signature; if not, a 403 is not repeated.
    ///   - jitter: Gives a new number of 0 ..< 1 at each call; 0 keeps the pauses exact.
    public init(
        over next: any ObjectStore, policy: RetryPolicy, isSigned: Bool, timeline: any Timeline,
        jitter: @escaping @Sendable () -> Double, logger: Logger
    ) {
        self.next = next
        self.policy = policy
        self.isSigned = isSigned
        self.timeline = timeline
        self.jitter = jitter
        self.logger = logger
    }

    /// From now on asks `permit` before a mutation is sent again; nil asks nobody.
    public func askBeforeRepeats(_ permit: RepeatPermit?) { repeatPermit.withLock { $0 = permit } }

    /// What was counted since the start or the last reset.
    public var statistics: RetryStatistics { counters.withLock { $0 } }

    /// Sets the counters to zero.
    public func resetStatistics() { counters.withLock { $0 = RetryStatistics() } }

    /// Reads an object; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await repeated("GET \(key)", changing: nil, context) { () async throws(ObjectStoreError) in
            try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        }.answer
    }

    /// Asks for attributes; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await repeated("HEAD \(key)", changing: nil, context) { () async throws(ObjectStoreError) in
            try await next.head(key, context)
        }.answer
    }

    /// Lists objects; see ``ObjectStore/list(prefix:after:limit:_:)``.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await repeated("LIST \(prefix)", changing: nil, context) { () async throws(ObjectStoreError) in
            try await next.list(prefix: prefix, after: after, limit: limit, context)
        }.answer
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        let name = keys.count == 1 ? "DELETE \(keys[0])" : "DELETE of \(keys.count) objects"
        let (mutation, isSettled) = try await repeated(name, changing: keys.first, context) { () async throws(ObjectStoreError) in
            try await next.delete(keys, context)
        }
        return Mutation(eTag: mutation.eTag, isSettled: mutation.isSettled && isSettled)
    }

    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        do throws(ObjectStoreError) {
            let (mutation, isSettled) = try await repeated("PUT \(key)", changing: key, context) {
                () async throws(ObjectStoreError) in
                try await next.put(key, body, metadata, condition, context)
            }
            return Mutation(eTag: mutation.eTag, isSettled: mutation.isSettled && isSettled)
        } catch {
            // The refusal may be the echo of our own success; only an attempt without an answer makes that possible.
            guard error.code == .preconditionFailed, error.outcomeIsUnknown, condition != .none else { throw error }
            guard let eTag = try await ownContent(key, body, metadata, context) else { throw error }
            return Mutation(eTag: eTag.tag, isSettled: false)
        }
    }

    // MARK: The loop

    /// Makes attempts until one succeeds or the state machine has had enough.
    ///
    /// - Parameter key: What is changed; nil for a read. A further attempt of a change is made by leave of the ``RepeatPermit``.
    /// - Returns: The answer, and whether every attempt got one.
    /// - Throws: The last failure; with `outcomeIsUnknown` if that holds for any attempt.
    private func repeated<Answer>(
        _ name: String, changing key: ObjectKey?, _ context: IOContext,
        _ attempt: () async throws(ObjectStoreError) -> Answer
    ) async throws(ObjectStoreError) -> (answer: Answer, isSettled: Bool) {
        var machine = RetryStateMachine(policy: policy)
        var mutation: RepeatedMutation?
        while true {
            do throws(ObjectStoreError) {
                if let mutation, let permit = repeatPermit.withLock({ $0 }) { try await permit(mutation, next, context) }
                let answer = try await attempt()
                hasSucceeded.store(true, ordering: .relaxed)
                return (answer, !machine.hasUnansweredAttempt)
            } catch {
                let circumstances = RetryStateMachine.Circumstances(
                    hasSucceeded: hasSucceeded.load(ordering: .relaxed), isSigned: isSigned, jitter: jitter())
                switch machine.failed(error, circumstances) {
                case .failAtOnce:
                    throw finalError(error, machine)
                case .giveUp:
                    counters.withLock { $0.givenUp += 1 }
                    // No error yet: whoever asked is told, and tells the user or the log, once.
                    logger.info("giving up on \(name)", metadata: ["cause": "\(error)", "attempts": "\(machine.attempt)"])
                    throw finalError(error, machine)
                case .retry(let pause):
                    mutation = key.map { key in
                        let wasUnanswered = mutation?.wasUnanswered ?? false || Self.isUnanswered(error)
                        return RepeatedMutation(
                            key: key, failedAt: timeline.now, wasUnanswered: wasUnanswered,
                            lastUnknownAt: error.outcomeIsUnknown ? timeline.now : mutation?.lastUnknownAt)
                    }
                    try await wait(pause, after: error, name, machine)
                }
            }
        }
    }

    private func wait(
        _ pause: Duration, after error: ObjectStoreError, _ name: String, _ machine: RetryStateMachine
    ) async throws(ObjectStoreError) {
        do throws(CancellationError) {
            try await timeline.sleep(until: timeline.now + pause)
        } catch {
            throw ObjectStoreError(
                .cancelled, "\(name) was cancelled", outcomeIsUnknown: machine.hasUnansweredAttempt, cause: error)
        }
        counters.withLock {
            $0.retries += 1
            $0.retryDelay += pause
        }
        logger.info("retrying query (attempt #\(machine.attempt)): \(name)", metadata: ["cause": "\(error)"])
    }

    /// Whether an attempt, or the look before it, got no answer: then the line, or this machine, may have been away.
    private static func isUnanswered(_ error: ObjectStoreError) -> Bool {
        switch error.code {
        case .timedOut, .connectFailed, .hostUnknown, .connectionLost: true
        default: error.outcomeIsUnknown
        }
    }

    /// The failure that the caller sees, which speaks for all attempts.
    private func finalError(_ error: ObjectStoreError, _ machine: RetryStateMachine) -> ObjectStoreError {
        guard machine.attempt > 1 else { return error }
        return ObjectStoreError(
            error.code, "\(error.message) (attempt #\(machine.attempt))",
            outcomeIsUnknown: machine.hasUnansweredAttempt, retryAfter: error.retryAfter, cause: error)
    }

    // MARK: Conditional puts

    /// Reads the object after a refusal, to see whether an earlier attempt of ours has written it.
    ///
    /// - Returns: Its version if it is what we wanted to write; nil if it is somebody else's, or absent.
    /// - Throws: When it cannot be read; the outcome stays unknown then.
    private func ownContent(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ context: IOContext
    ) async throws(ObjectStoreError) -> OwnVersion? {
        do throws(ObjectStoreError) {
            let read = try await get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, context)
            guard case .object(let object) = read, Self.isEqual(object.body, body) else { return nil }
            guard Self.isEqual(object.attributes.metadata, metadata) else { return nil }
            return OwnVersion(tag: object.attributes.eTag)
        } catch {
            throw ObjectStoreError(
                error.code, "cannot tell whether PUT \(key) was done: \(error.message)", outcomeIsUnknown: true,
                retryAfter: error.retryAfter, cause: error)
        }
    }

    /// The version of an object known to be ours; the store may have given it no tag.
    private struct OwnVersion { let tag: ETag? }

    private static func isEqual(_ left: BufferSlice, _ right: BufferSlice) -> Bool {
        left.withBytes { left in right.withBytes { right in left.elementsEqual(right) } }
    }

    /// Whether a store that was given `wanted` may answer `found`: S3 fills in a Content-Type where none was given.
    private static func isEqual(_ found: ObjectMetadata, _ wanted: ObjectMetadata) -> Bool {
        found.user == wanted.user && found.contentEncoding == wanted.contentEncoding
            && (wanted.contentType == nil || found.contentType == wanted.contentType)
    }
}
