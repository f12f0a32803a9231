// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import Logging
internal import Synchronization

/// Bounds the requests in flight, adapts the bound to what the store bears, and keeps lanes for the foreground.
///
/// The queue needs no bound of its own: whoever waits in it is a suspended caller, so it is as long as there are callers,
/// and those are bounded above (requests of the kernel, fan-out of the disk, uploads of the cache).
///
/// - Concurrency: a caller that is cancelled while it waits leaves the queue at once; nothing was sent then. One that is raised
///   (``IOEscalation``) while it waits goes to the foreground's queue.
/// - Source: `LimitStateMachine` has the rules.
public final class LimitedObjectStore: ObjectStore {
    fileprivate struct State {
        var machine: LimitStateMachine
        /// The callers that wait; each is resumed once, by whoever removes it from here.
        var waiting: [LimitStateMachine.Ticket: CheckedContinuation<Void, any Error>] = [:]
    }
    private let next: any ObjectStore
    private let logger: Logger
    private let state: Mutex<State>

    /// Makes the layer.
    public init(over next: any ObjectStore, limits: RequestLimits, logger: Logger) {
        self.next = next
        self.logger = logger
        state = Mutex(State(machine: LimitStateMachine(limits: limits)))
    }

    /// Where the limit stands, and what was counted since the start.
    public var statistics: LimitStatistics {
        state.withLock { state in
            let machine = state.machine
            return LimitStatistics(
                limit: machine.limit, inFlight: machine.inFlightCount, waiting: machine.waitingCount, waits: machine.waits,
                halvings: machine.halvings)
        }
    }

    /// Sets the counters to zero; the limit stays.
    public func resetStatistics() { state.withLock { $0.machine.resetCounters() } }

    /// Reads an object; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await limited(context) { () async throws(ObjectStoreError) in
            try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        }
    }

    /// Asks for attributes; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await limited(context) { () async throws(ObjectStoreError) in try await next.head(key, context) }
    }

    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        try await limited(context) { () async throws(ObjectStoreError) in
            try await next.put(key, body, metadata, condition, context)
        }
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await limited(context) { () async throws(ObjectStoreError) in try await next.delete(keys, context) }
    }

    /// Lists objects; see ``ObjectStore/list(prefix:after:limit:_:)``.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await limited(context) { () async throws(ObjectStoreError) in
            try await next.list(prefix: prefix, after: after, limit: limit, context)
        }
    }

    // MARK: The gate

    private func limited<Answer>(
        _ context: IOContext, _ request: () async throws(ObjectStoreError) -> Answer
    ) async throws(ObjectStoreError) -> Answer {
        let ticket = try await enter(context)
        do throws(ObjectStoreError) {
            let answer = try await request()
            finish(ticket, .success)
            return answer
        } catch {
            finish(ticket, Self.ending(error.code))
            throw error
        }
    }

    private static func ending(_ code: ObjectStoreError.Code) -> LimitStateMachine.Ending {
        switch code {
        case .timedOut, .slowDown: .overload
        case .preconditionFailed: .success
        default: .other
        }
    }

    private func enter(_ context: IOContext) async throws(ObjectStoreError) -> LimitStateMachine.Ticket {
        let (ticket, isSent) = state.withLock { $0.machine.enter(context.priority) }
        if isSent { return ticket }
        let registration = context.escalation?.whenRaised { [weak self] in self?.raise(ticket) }
        // Raised since it entered, or before: then it waits in the foreground already.
        if registration == nil, context.escalation != nil { raise(ticket) }
        defer { if let registration { context.escalation?.remove(registration) } }
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { self.wait(ticket, $0) }
            } onCancel: {
                self.cancel(ticket)
            }
        } catch {
            throw ObjectStoreError(.cancelled, "cancelled while waiting to be sent", outcomeIsUnknown: false, cause: error)
        }
        return ticket
    }

    /// Parks the caller, unless its turn has come, or it was cancelled, since it entered.
    private func wait(_ ticket: LimitStateMachine.Ticket, _ continuation: CheckedContinuation<Void, any Error>) {
        enum Outcome { case waits, isSent, isCancelled([CheckedContinuation<Void, any Error>]) }
        let outcome: Outcome = state.withLock { state in
            guard state.machine.isWaiting(ticket) else { return .isSent }
            // A cancellation handler that found no continuation has run after this flag was set; so nobody is lost.
            guard !Task.isCancelled else { return .isCancelled(state.remove(ticket)) }
            state.waiting[ticket] = continuation
            return .waits
        }
        switch outcome {
        case .waits: break
        case .isSent: continuation.resume()
        case .isCancelled(let others):
            for other in others { other.resume() }
            continuation.resume(throwing: CancellationError())
        }
    }

    private func raise(_ ticket: LimitStateMachine.Ticket) {
        let resumed = state.withLock { state in state.take(state.machine.raise(ticket)) }
        for continuation in resumed { continuation.resume() }
    }

    private func cancel(_ ticket: LimitStateMachine.Ticket) {
        let (own, others) = state.withLock { state in
            // Without a continuation it is sent already, or about to park: wait(_:_:) sees the cancellation then.
            guard let own = state.waiting.removeValue(forKey: ticket) else {
                return (CheckedContinuation<Void, any Error>?.none, [CheckedContinuation<Void, any Error>]())
            }
            return (own, state.remove(ticket))
        }
        own?.resume(throwing: CancellationError())
        for other in others { other.resume() }
    }

    private func finish(_ ticket: LimitStateMachine.Ticket, _ ending: LimitStateMachine.Ending) {
        let (resumed, halvedTo) = state.withLock { state in
            let halvings = state.machine.halvings
            let resumed = state.take(state.machine.finish(ticket, ending))
            return (resumed, state.machine.halvings == halvings ? nil : state.machine.limit)
        }
        for continuation in resumed { continuation.resume() }
        if let halvedTo { logger.debug("the store is overloaded: fewer requests at once", metadata: ["limit": "\(halvedTo)"]) }
    }
}

extension LimitedObjectStore.State {
    /// Removes a waiting request; returns the callers whose turn that makes it.
    fileprivate mutating func remove(_ ticket: LimitStateMachine.Ticket) -> [CheckedContinuation<Void, any Error>] {
        take(machine.cancel(ticket).sent)
    }

    /// The callers of `tickets`; one that has not parked yet will find that it was sent.
    fileprivate mutating func take(_ tickets: [LimitStateMachine.Ticket]) -> [CheckedContinuation<Void, any Error>] {
        tickets.compactMap { waiting.removeValue(forKey: $0) }
    }
}
