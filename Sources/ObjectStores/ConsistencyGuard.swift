// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import Logging
internal import Synchronization

/// Keeps the contract's consistency over a store that does not: one that answers for a while with an older version of an object,
/// with its absence before it was written, or with an object that was deleted.
///
/// It remembers what it has written lately, and what came back: the ETag, or a digest of the bytes where that tells nothing. An
/// answer that cannot be true is thrown as `.stale`, and `RetryingObjectStore`, which stands above, asks again. After a change
/// without an answer the object is in doubt: the version before and the attempted one are both believed.
///
/// A read during a write asks the store, and may meet the version before or the new one. It is not answered from the bytes
/// being sent: if the store then refuses them, somebody has read what never was.
///
/// - Concurrency: safe from anywhere. Changes may wait, for the end of `minWriteDelay` and for room in the table; reads wait for the former
///   only. Cancelling ends a wait at once, with nothing changed.
/// - Source: `ConsistencyStateMachine` has the rules; Docs/Decisions/0007-consistency-guard.md says why.
public final class ConsistencyGuard: ObjectStore {
    /// What is guarded by the lock.
    struct State {
        /// What is known.
        var machine: ConsistencyStateMachine
        /// What was counted.
        var statistics = ConsistencyStatistics()
        /// The changes that wait until they are the first to get room; each is resumed once, by whoever removes it from here.
        var parked: [UInt64: CheckedContinuation<Void, any Error>] = [:]
        /// When the last stale answer was logged.
        var loggedAt: Duration?
    }
    /// The store that is guarded.
    let next: any ObjectStore
    private let guards: @Sendable (ObjectKey) -> Bool
    /// The clock.
    let timeline: any Timeline
    private let logger: Logger
    /// What is known, counted, and waited for.
    let state: Mutex<State>

    /// Makes the layer.
    ///
    /// - Parameters:
    ///   - next: The store that is guarded; nothing below may repeat a request.
    ///   - guards: Which objects only this program changes: the blocks. Requests for others pass as they are.
    public init(
        over next: any ObjectStore, limits: ConsistencyLimits, guards: @escaping @Sendable (ObjectKey) -> Bool,
        timeline: any Timeline, logger: Logger
    ) {
        self.next = next
        self.guards = guards
        self.timeline = timeline
        self.logger = logger
        state = Mutex(State(machine: ConsistencyStateMachine(limits: limits)))
    }

    /// What is remembered, and what was counted since the start or the last reset.
    public var statistics: ConsistencyStatistics {
        let now = timeline.now
        return state.withLock { state in
            var statistics = state.statistics
            statistics.currentSize = state.machine.count(now: now)
            return statistics
        }
    }

    /// Sets the counters to zero; what is remembered stays.
    public func resetStatistics() { state.withLock { $0.statistics = ConsistencyStatistics() } }

    /// Reads an object; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    ///
    /// - Throws: `.stale` when the answer is older than what is known.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        let request = GuardedGet(key: key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context: context)
        guard guards(key) else { return try await send(request) }
        switch try await plan(request) {
        case .pass, .wait: return try await send(request)
        case .absent:
            countDataHit()
            return .absent
        case .ask(let read): return try await ask(request, read)
        }
    }

    /// Asks for attributes; see ``ObjectStore/head(_:_:)``.
    ///
    /// While a change of the object is under way, or had no answer, the answer is passed on as it is.
    ///
    /// - Throws: `.stale` when the answer is older than what is known.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        guard guards(key) else { return try await next.head(key, context) }
        let now = timeline.now
        switch state.withLock({ $0.machine.beginHead(of: key, now: now) }) {
        case .pass, .wait: return try await next.head(key, context)
        case .absent:
            countDataHit()
            return .absent
        case .ask(let read): return try await ask(read, context)
        }
    }

    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        guard guards(key) else { return try await next.put(key, body, metadata, condition, context) }
        let now = timeline.now
        guard !state.withLock({ $0.machine.contradicts(condition, key, now: now) }) else {
            throw ObjectStoreError(
                .preconditionFailed, "cannot write object \"\(key)\": it has another version", outcomeIsUnknown: false)
        }
        return try await change([key], to: .body(body)) { () async throws(ObjectStoreError) in
            try await next.put(key, body, metadata, condition, context)
        }
    }

    /// Deletes objects, in pieces of what the table can hold; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        let guarded = keys.filter(guards)
        guard !guarded.isEmpty else { return try await next.delete(keys, context) }
        let pieceCount = state.withLock { $0.machine.limits.objectsMax }
        var isSettled = true
        if guarded.count < keys.count {
            isSettled = try await next.delete(keys.filter { !guards($0) }, context).isSettled
        }
        for start in stride(from: 0, to: guarded.count, by: pieceCount) {
            let piece = Array(guarded[start..<min(start + pieceCount, guarded.count)])
            do throws(ObjectStoreError) {
                let mutation = try await change(piece, to: .absent) { () async throws(ObjectStoreError) in
                    try await next.delete(piece, context)
                }
                isSettled = isSettled && mutation.isSettled
            } catch {
                guard piece.count < keys.count, start > 0 || guarded.count < keys.count else { throw error }
                // Even if this piece changed nothing, those before it did.
                throw ObjectStoreError(
                    error.code, error.message, outcomeIsUnknown: true, retryAfter: error.retryAfter, cause: error)
            }
        }
        return Mutation(eTag: nil, isSettled: isSettled)
    }

    /// Lists objects, with what is known for sure in place of what the store says; see ``ObjectStore/list(prefix:after:limit:_:)``.
    ///
    /// - Throws: `.stale` when so much was forgotten while the list was under way that its answer says nothing.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        let began = timeline.now
        let ticket = state.withLock { $0.machine.beginList(now: began) }
        defer { state.withLock { $0.machine.endList(ticket) } }
        let page = try await next.list(prefix: prefix, after: after, limit: limit, context)
        let now = timeline.now
        let bounds = ConsistencyStateMachine.ListBounds(prefix: prefix, after: after, limit: limit)
        guard let whole = state.withLock({ $0.machine.overlay(page, bounds, ticket, now: now) }) else {
            throw ObjectStoreError(
                .stale, "cannot list objects: more of them were changed meanwhile than can be remembered", outcomeIsUnknown: false
            )
        }
        return whole
    }

    // MARK: Figures and errors

    /// Counts an answer that is not believed.
    ///
    /// - Parameters:
    ///   - what: What was asked for: `read` or `look up`.
    ///   - answer: What the store says of it.
    /// - Returns: The error to throw.
    func stale(_ what: String, _ read: ConsistencyStateMachine.Read, _ answer: StaleAnswer) -> ObjectStoreError {
        let now = timeline.now
        let (isLogged, isForEver) = state.withLock { state in
            let isForEver = state.machine.limits.keptFor == nil
            state.statistics.staleAnswers += 1
            if case .refusal = answer { state.statistics.refusals += 1 }
            // Every answer of an outage may be stale; one line a second says as much.
            if let loggedAt = state.loggedAt, now - loggedAt < .seconds(1) { return (false, isForEver) }
            state.loggedAt = now
            return (true, isForEver)
        }
        var message = "cannot \(what) object \"\(read.key)\": \(answer.description(read, age: now - read.learntAt))"
        // Else it is forgotten by itself.
        if isForEver { message += "; if somebody else changed it, unmount and mount again" }
        logger.log(level: isLogged ? .info : .debug, "received stale content", metadata: ["cause": "\(message)"])
        return ObjectStoreError(.stale, message, outcomeIsUnknown: false)
    }

    private func countDataHit() { state.withLock { $0.statistics.dataHits += 1 } }
}

/// What the store says of an object, and cannot be true.
enum StaleAnswer {
    /// That it is absent.
    case absent
    /// That it has another version.
    case otherVersion
    /// That it has not the version asked for.
    case refusal
    /// Something while the object was changed so often that nobody can tell.
    case unclear

    /// The cause, for an error's message.
    fileprivate func description(_ read: ConsistencyStateMachine.Read, age: Duration) -> String {
        let age = Self.seconds(age)
        switch self {
        case .unclear: return "it is changed too often to be read"
        case _ where read.candidates.count > 1:
            return "the store answers with an older version of it than those that may be there since a change \(age) ago"
        case .absent: return "the store answers that it does not exist, but it was written \(age) ago"
        case .otherVersion, .refusal: return "the store answers with an older version of it than the one written \(age) ago"
        }
    }

    /// A duration in seconds, with one decimal.
    private static func seconds(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        return "\(seconds).\(attoseconds / 100_000_000_000_000_000) seconds"
    }
}
