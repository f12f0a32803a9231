// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Synchronization

/// The arguments of a get; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
struct GuardedGet {
    let key: ObjectKey
    let range: Range<Int>?
    let ifMatch: ETag?
    let ifNoneMatch: ETag?
    let context: IOContext
}

/// How the guard reads: asks, and believes only what can be true.
extension ConsistencyGuard {
    /// A read under way.
    typealias Read = ConsistencyStateMachine.Read

    /// Sends a request as the caller made it.
    func send(_ request: GuardedGet) async throws(ObjectStoreError) -> ObjectRead {
        try await next.get(
            request.key, range: request.range, ifMatch: request.ifMatch, ifNoneMatch: request.ifNoneMatch, request.context)
    }

    /// Decides how to read, after the one wait that a change without an answer may ask for.
    func plan(_ request: GuardedGet) async throws(ObjectStoreError) -> ConsistencyStateMachine.ReadPlan {
        let plan = begin(request.key, hasWaited: false)
        guard case .wait(let moment) = plan else { return plan }
        do {
            try await timeline.sleep(until: moment)
        } catch {
            throw ObjectStoreError(
                .cancelled, "cannot read object \"\(request.key)\": cancelled while waiting for the store to settle",
                outcomeIsUnknown: false, cause: error)
        }
        return begin(request.key, hasWaited: true)
    }

    private func begin(_ key: ObjectKey, hasWaited: Bool) -> ConsistencyStateMachine.ReadPlan {
        let now = timeline.now
        return state.withLock { $0.machine.beginRead(of: key, hasWaited: hasWaited, now: now) }
    }

    /// Reads an object of which something is known.
    func ask(_ request: GuardedGet, _ read: Read) async throws(ObjectStoreError) -> ObjectRead {
        defer { state.withLock { $0.machine.endRead(read) } }
        let only = read.onlyVersion?.tag
        if let ifMatch = request.ifMatch, let only, ifMatch != only {
            throw ObjectStoreError(
                .preconditionFailed, "cannot read object \"\(request.key)\": it has another version", outcomeIsUnknown: false)
        }
        // A digest is of the whole object.
        let isWhole = read.candidates.contains { if case .digest = $0 { true } else { false } }
        let range = isWhole ? nil : request.range
        // A condition that nothing possible can meet is left out.
        let ifNoneMatch = request.ifNoneMatch.flatMap { tag in read.candidates.contains { $0.tag == tag } ? tag : nil }
        let ifMatch = request.ifMatch ?? (ifNoneMatch == nil ? only : nil)
        let answer: ObjectRead
        do throws(ObjectStoreError) {
            answer = try await next.get(
                request.key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, request.context)
        } catch {
            guard error.code == .preconditionFailed, let only, ifMatch == only else { throw error }
            guard let now = current(read), now.isOverlapped else { throw stale("read", read, .refusal) }
            guard request.ifMatch == nil else { throw error }
            // Not old, but overtaken: asked again as during a change. A writer that never rests must not starve a reader.
            let answer = try await next.get(request.key, range: range, ifMatch: nil, ifNoneMatch: nil, request.context)
            try judge(answer, read, range)
            return shaped(answer, request, read, isWhole: isWhole)
        }
        try judge(answer, read, range)
        return shaped(answer, request, read, isWhole: isWhole)
    }

    /// Asks for the attributes of an object of which something is certain.
    func ask(_ read: Read, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        defer { state.withLock { $0.machine.endRead(read) } }
        let answer = try await next.head(read.key, context)
        guard !state.withLock({ $0.machine.hasUnanswered(read.key) }) else { return answer }
        guard let current = current(read) else { throw stale("look up", read, .unclear) }
        switch answer {
        case .absent:
            guard current.candidates.contains(where: { $0.isAbsent }) else { throw stale("look up", current, .absent) }
        case .present(let attributes):
            guard current.candidates.contains(where: { $0.matches(attributes) }) else {
                throw stale("look up", current, .otherVersion)
            }
        }
        return answer
    }

    private func current(_ read: Read) -> Read? { state.withLock { $0.machine.read(read) } }

    /// Decides whether an answer can be true.
    ///
    /// - Parameter range: What was asked for.
    /// - Throws: `.stale` when it cannot.
    private func judge(_ answer: ObjectRead, _ read: Read, _ range: Range<Int>?) throws(ObjectStoreError) {
        guard let current = current(read) else { throw stale("read", read, .unclear) }
        switch answer {
        // The tag was sent because it is a possible one.
        case .unchanged: return
        case .absent:
            guard current.candidates.contains(.absent) else { throw stale("read", current, .absent) }
        case .object(let object):
            guard current.candidates.contains(where: { $0.matches(object, range: range) }) else {
                throw stale("read", current, .otherVersion)
            }
        }
    }

    /// Makes of the answer what the caller asked for.
    private func shaped(_ answer: ObjectRead, _ request: GuardedGet, _ read: Read, isWhole: Bool) -> ObjectRead {
        guard case .object(var object) = answer else { return answer }
        if let tag = request.ifNoneMatch, object.attributes.eTag == tag {
            // A part that is as it must be may be that of an older object, which is another as a whole.
            let isJudgedWhole = isWhole || request.range == nil
            if isJudgedWhole || read.candidates.contains(where: { $0.tag == tag }) { return .unchanged }
        }
        guard isWhole, let range = request.range else { return answer }
        object.body = object.body.slice(range.clamped(to: 0..<object.body.count))
        return .object(object)
    }
}
