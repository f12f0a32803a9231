// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import ObjectStores
internal import Synchronization

/// How old the answers of a ``StaleObjectStore`` may be, and how often they are.
public struct StalenessPlan: Sendable {
    /// How likely a request is answered with an older state of the object, while there is one; 0 ... 1.
    public var staleAnswers: Double
    /// How long after a change the state before may still be served; each change draws its own time up to this. Nil: for ever.
    public var convergenceMax: Duration?
    /// How likely a condition of a request is compared with the newest state although an older one is served, as the parts of a
    /// real store do that do not know of each other; 0 ... 1.
    public var truthfulConditions: Double

    /// Makes a plan.
    public init(staleAnswers: Double, convergenceMax: Duration?, truthfulConditions: Double) {
        self.staleAnswers = staleAnswers
        self.convergenceMax = convergenceMax
        self.truthfulConditions = truthfulConditions
    }
}

/// An eventually consistent object store: for a while after each change it answers, now and then, with the state before: older
/// versions, the absence of new objects, and objects that were deleted. To `get`, `head` and `list` alike; from a seed.
///
/// The state served is the key's alone, and drawn anew by each request: after a new answer an old one may follow.
///
/// - Concurrency: safe with anything, as long as `next` is changed through this store alone.
public final class StaleObjectStore: ObjectStore {
    /// What a key has, or had.
    private enum Content: Sendable {
        case absent
        case object(Object)
    }
    /// A state that was overwritten.
    private struct Past: Sendable {
        let content: Content
        /// Until when it may be served; nil: for ever.
        let servedUntil: Duration?
    }
    private struct State {
        var plan: StalenessPlan
        var generator: SeededGenerator
        var newest: [ObjectKey: Content] = [:]
        var past: [ObjectKey: [Past]] = [:]
        var staleCount = 0
    }
    private let next: any ObjectStore
    private let timeline: any Timeline
    private let state: Mutex<State>

    /// Makes the store.
    ///
    /// - Parameters:
    ///   - next: An honest store, which is empty.
    ///   - seed: Decides which state is served.
    public init(over next: any ObjectStore, plan: StalenessPlan, seed: UInt64, timeline: any Timeline) {
        self.next = next
        self.timeline = timeline
        state = Mutex(State(plan: plan, generator: SeededGenerator(seed: seed)))
    }

    /// Replaces the plan from the next request on.
    public func setPlan(_ plan: StalenessPlan) { state.withLock { $0.plan = plan } }

    /// How many answers showed an older state.
    public var staleCount: Int { state.withLock { $0.staleCount } }

    /// Reads an object, perhaps an older one; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        let (content, compared) = serve(key)
        let answer = content
        if case .object(let object) = compared {
            if let ifMatch, object.attributes.eTag != ifMatch {
                throw ObjectStoreError(
                    .preconditionFailed, "object \"\(key)\" has another version", outcomeIsUnknown: false)
            }
            if let ifNoneMatch, object.attributes.eTag == ifNoneMatch { return .unchanged }
        }
        guard case .object(var object) = answer else { return .absent }
        guard let range else { return .object(object) }
        guard range.lowerBound < object.body.count else {
            throw ObjectStoreError(
                .unexpectedStatus, "cannot read object \"\(key)\": range starts beyond its end", outcomeIsUnknown: false)
        }
        object.body = object.body.slice(range.clamped(to: 0..<object.body.count))
        return .object(object)
    }

    /// Asks for attributes, perhaps older ones; see ``ObjectStore/head(_:_:)``.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        guard case .object(let object) = serve(key).content else { return .absent }
        return .present(object.attributes)
    }

    /// Lists objects, each in a state of its own; see ``ObjectStore/list(prefix:after:limit:_:)``.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        let keys = state.withLock { $0.newest.keys.sorted() }
        var entries: [ObjectListEntry] = []
        for key in keys where key.name.utf8.starts(with: prefix.utf8) && (after.map { $0 < key } ?? true) {
            guard case .object(let object) = serve(key).content else { continue }
            guard entries.count < limit else { return ObjectListPage(entries: entries, next: entries.last?.key) }
            entries.append(ObjectListEntry(key: key, size: object.attributes.size, eTag: object.attributes.eTag))
        }
        return ObjectListPage(entries: entries, next: nil)
    }

    /// Writes an object; see ``ObjectStore/put(_:_:_:_:_:)``. Conditions of changes are compared with the newest state.
    public func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        let mutation = try await next.put(key, body, metadata, condition, context)
        let attributes = ObjectAttributes(size: body.count, eTag: mutation.eTag, metadata: metadata)
        supersede(key, by: .object(Object(body: body, attributes: attributes)))
        return mutation
    }

    /// Deletes objects; see ``ObjectStore/delete(_:_:)``.
    public func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        let mutation = try await next.delete(keys, context)
        for key in keys { supersede(key, by: .absent) }
        return mutation
    }

    // MARK: States

    private func supersede(_ key: ObjectKey, by content: Content) {
        let now = timeline.now
        state.withLock { state in
            let until = state.plan.convergenceMax.map { now + state.generator.duration(upTo: $0) }
            let old = Past(content: state.newest[key] ?? .absent, servedUntil: until)
            state.past[key, default: []].append(old)
            state.newest[key] = content
        }
    }

    /// Draws the state that is served, and the one that conditions are compared with.
    private func serve(_ key: ObjectKey) -> (content: Content, compared: Content) {
        let now = timeline.now
        return state.withLock { state in
            let isStale = state.generator.chance(state.plan.staleAnswers)
            let isTruthful = state.generator.chance(state.plan.truthfulConditions)
            let newest = state.newest[key] ?? .absent
            state.past[key]?.removeAll { past in past.servedUntil.map { $0 <= now } ?? false }
            guard isStale, let past = state.past[key]?.randomElement(using: &state.generator) else { return (newest, newest) }
            state.staleCount += 1
            return (past.content, isTruthful ? newest : past.content)
        }
    }
}
