// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import ObjectStores
internal import Synchronization

/// An object store that fails as real ones do: before the work, after it, or never saying which; from a seed.
///
/// The worst it does is the late arrival: a PUT or DELETE that timed out is carried out later, over a newer one of the same key.
///
/// - Concurrency: safe with anything; the same seed, requests in the same order and the same clock give the same faults.
public final class FaultyObjectStore: ObjectStore {
    private let next: any ObjectStore
    private let timeline: any Timeline
    private let state: Mutex<State>

    private struct State {
        var plan: ObjectFaultPlan
        var generator: SeededGenerator
        var late = LateMutations()
        var injected: [ObjectFault: Int] = [:]
        var arrivals: [ObjectKey: Int] = [:]
    }

    /// Makes a faulty store.
    ///
    /// - Parameters:
    ///   - next: The store that does the work; an honest one.
    ///   - plan: What may go wrong; see ``setPlan(_:)``.
    ///   - seed: Decides all faults.
    public init(over next: any ObjectStore, plan: ObjectFaultPlan, seed: UInt64, timeline: any Timeline) {
        self.next = next
        self.timeline = timeline
        state = Mutex(State(plan: plan, generator: SeededGenerator(seed: seed)))
    }

    /// Replaces the plan from the next request on; `ObjectFaultPlan()` heals the store.
    public func setPlan(_ plan: ObjectFaultPlan) { state.withLock { $0.plan = plan } }

    /// How many faults were injected up to now.
    public var faultCount: Int { state.withLock { $0.injected.values.reduce(0, +) } }

    /// How many faults of each kind were injected up to now, by the names that ``ObjectFaultPlan`` has for them.
    public var faultCounts: [String: Int] {
        state.withLock { state in
            Dictionary(uniqueKeysWithValues: state.injected.map { ("\($0.key)", $0.value) })
        }
    }

    /// How many timed-out mutations of `key` have arrived late and changed it, or done the same again.
    public func lateArrivalCount(of key: ObjectKey) -> Int { state.withLock { $0.arrivals[key] ?? 0 } }

    /// How many timed-out mutations of `key` are still on their way.
    public func lateCount(of key: ObjectKey) -> Int { state.withLock { $0.late.count(of: key) } }

    /// Drops the mutations that are on their way: they never arrive.
    public func forgetLate() { state.withLock { _ = $0.late.takeAll() } }

    /// Lets every mutation that is on its way arrive now, the oldest first.
    public func deliverLate() async throws(ObjectStoreError) {
        for mutation in state.withLock({ $0.late.takeAll() }) { try await apply(mutation) }
    }

    /// Lets those arrive now that are on their way to `key`, the oldest first.
    public func deliverLate(of key: ObjectKey) async throws(ObjectStoreError) {
        for mutation in state.withLock({ $0.late.take(of: key) }) { try await apply(mutation) }
    }

    /// Reads an object, or fails; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        let fate = try await begin("GET \(key)", isMutation: false)
        let answer = try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        try await end(fate, "GET \(key)", isMutation: false)
        return answer
    }

    /// Asks for attributes, or fails; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        let fate = try await begin("HEAD \(key)", isMutation: false)
        let answer = try await next.head(key, context)
        try await end(fate, "HEAD \(key)", isMutation: false)
        return answer
    }

    /// Lists objects, or fails; see ``ObjectStore/list(prefix:after:limit:_:)``.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        let fate = try await begin("LIST \(prefix)", isMutation: false)
        let answer = try await next.list(prefix: prefix, after: after, limit: limit, context)
        try await end(fate, "LIST \(prefix)", isMutation: false)
        return answer
    }

    /// Writes an object, or fails; see ``ObjectStore/put(_:_:_:_:_:)``.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let kind = LateMutation.Kind.put(key, body, metadata, condition)
        let fate = try await begin("PUT \(key)", isMutation: true, late: kind)
        let answer = try await next.put(key, body, metadata, condition, context)
        try await deliver(after: [key])
        try await end(fate, "PUT \(key)", isMutation: true)
        return answer
    }

    /// Deletes objects, or fails, perhaps half done; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        let name = "DELETE \(keys.map(\.name).joined(separator: " "))"
        let fate = try await begin(name, isMutation: true, late: .delete(keys))
        let done =
            fate == .answerLost ? state.withLock { keys.shuffled(using: &$0.generator).dropLast(keys.count / 2) } : keys[...]
        let answer = try await next.delete(Array(done), context)
        try await deliver(after: keys)
        try await end(fate, name, isMutation: true)
        return answer
    }

    // MARK: The fate of a request

    /// Draws the fate, waits, and throws what happens before the request is done.
    private func begin(
        _ name: String, isMutation: Bool, late kind: LateMutation.Kind? = nil
    ) async throws(ObjectStoreError) -> ObjectFault {
        let (fate, wait, retryAfter, stall) = state.withLock { state in
            let fate = ObjectFault.draw(state.plan, &state.generator)
            if fate != .none { state.injected[fate, default: 0] += 1 }
            let wait = state.generator.duration(upTo: state.plan.latencyMax)
            let retryAfter: Duration? = state.generator.chance(0.5) ? .seconds(1) : nil
            return (fate, wait, retryAfter, state.plan.stall)
        }
        try await pause(wait, isMutation: isMutation)
        try await deliverDue()
        switch fate {
        case .none, .answerLost: return fate
        case .refused:
            throw ObjectStoreError(.connectFailed, "\(name): connection refused", outcomeIsUnknown: false)
        case .slowDown:
            throw ObjectStoreError(
                .slowDown, "\(name): 503 SlowDown", outcomeIsUnknown: false, retryAfter: retryAfter)
        case .forbidden:
            throw ObjectStoreError(.forbidden, "\(name): 403 AccessDenied", outcomeIsUnknown: false)
        case .serverError:
            throw ObjectStoreError(.serverError, "\(name): 500 InternalError", outcomeIsUnknown: isMutation)
        case .timeout, .lateArrival:
            if fate == .lateArrival, let kind { send(kind, stall: stall) }
            try await pause(stall, isMutation: isMutation)
            throw ObjectStoreError(.timedOut, "\(name): operation timeout", outcomeIsUnknown: isMutation)
        }
    }

    /// Waits for the answer, and loses it if that is the fate.
    private func end(_ fate: ObjectFault, _ name: String, isMutation: Bool) async throws(ObjectStoreError) {
        let wait = state.withLock { $0.generator.duration(upTo: $0.plan.latencyMax) }
        try await pause(wait, isMutation: isMutation)
        guard fate == .answerLost else { return }
        throw ObjectStoreError(.connectionLost, "\(name): connection reset by peer", outcomeIsUnknown: isMutation)
    }

    private func pause(_ duration: Duration, isMutation: Bool) async throws(ObjectStoreError) {
        guard duration > .zero else { return }
        do {
            try await timeline.sleep(until: timeline.now + duration)
        } catch {
            throw ObjectStoreError(.cancelled, "the request was cancelled", outcomeIsUnknown: isMutation, cause: error)
        }
    }

    // MARK: Late arrivals

    private func send(_ kind: LateMutation.Kind, stall: Duration) {
        let now = timeline.now
        state.withLock { state in
            let count = Int.random(in: 1...max(1, state.plan.lateMutationsMax), using: &state.generator)
            let delay = state.plan.lateDelayMax.map { state.generator.duration(upTo: $0) }
            state.late.append(LateMutation(kind: kind, mutationsLeft: count, due: delay.map { now + stall + $0 }))
        }
    }

    /// Lets those arrive whose time has come.
    private func deliverDue() async throws(ObjectStoreError) {
        let now = timeline.now
        for mutation in state.withLock({ $0.late.takeDue(now) }) { try await apply(mutation) }
    }

    /// Lets those arrive that waited for this mutation of `keys`.
    private func deliver(after keys: [ObjectKey]) async throws(ObjectStoreError) {
        for mutation in state.withLock({ $0.late.takeAfterMutation(of: keys) }) { try await apply(mutation) }
    }

    private func apply(_ mutation: LateMutation) async throws(ObjectStoreError) {
        do {
            switch mutation.kind {
            case .put(let key, let body, let metadata, let condition):
                _ = try await next.put(key, body, metadata, condition, .background)
            case .delete(let keys):
                _ = try await next.delete(keys, .background)
            }
            state.withLock { state in
                for key in mutation.kind.keys { state.arrivals[key, default: 0] += 1 }
            }
        } catch  where error.code == .preconditionFailed {
            // Its answer reaches nobody.
        }
    }
}
