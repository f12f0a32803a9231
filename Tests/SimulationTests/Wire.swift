// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import Synchronization
import Volumes

/// The connection of one mount to the store: can be cut for ever, and sees that block 0 comes first and stays.
final class Wire: ObjectStore {
    private struct State {
        var isCut = false
        var requestsLeft: Int?
        var isCutBeforeRequest = true
        var mutationCount = 0
    }
    private let next: any ObjectStore
    private let world: World
    private let state = Mutex(State())

    init(to next: any ObjectStore, _ world: World) {
        self.next = next
        self.world = world
    }

    /// Whether the mount is dead.
    var isCut: Bool { state.withLock { $0.isCut } }

    /// How many changes were sent.
    var mutationCount: Int { state.withLock { $0.mutationCount } }

    /// Forgets that the connection was to be cut; it may be cut already.
    func keep() { state.withLock { $0.requestsLeft = nil } }

    /// Cuts the connection now.
    func cut() { state.withLock { $0.isCut = true } }

    /// Cuts the connection with the `number`th request from now.
    func cut(atRequest number: Int, isBeforeRequest: Bool) {
        state.withLock {
            $0.requestsLeft = number
            $0.isCutBeforeRequest = isBeforeRequest
        }
    }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await sent(isMutation: false) { () async throws(ObjectStoreError) in
            try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
        }
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await sent(isMutation: false) { () async throws(ObjectStoreError) in try await next.head(key, context) }
    }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await sent(isMutation: false) { () async throws(ObjectStoreError) in
            try await next.list(prefix: prefix, after: after, limit: limit, context)
        }
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        await demandFirstBlock(of: [key])
        return try await sent(isMutation: true) { () async throws(ObjectStoreError) in
            try await next.put(key, body, metadata, condition, context)
        }
    }

    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        await demandFirstBlock(of: keys)
        if keys.contains(world.key(0)) { world.report("block 0 is deleted") }
        if keys.contains(world.scenario.keys.volumeKeyKey) { world.report("the key object is deleted") }
        return try await sent(isMutation: true) { () async throws(ObjectStoreError) in try await next.delete(keys, context) }
    }

    /// Sees that no block is changed before block 0 has an object.
    private func demandFirstBlock(of keys: [ObjectKey]) async {
        let others = [world.key(0), world.scenario.keys.mountTokenKey, world.scenario.keys.volumeKeyKey]
        if keys.count == 1, others.contains(keys[0]) { return }
        do {
            if try await !world.hasFirstBlock() { world.report("\(keys) are changed before block 0 has an object") }
        } catch {
            world.report("\(error)")
        }
    }

    private func sent<Answer>(
        isMutation: Bool, _ request: () async throws(ObjectStoreError) -> Answer
    ) async throws(ObjectStoreError) -> Answer {
        let (isLost, isCut) = state.withLock { state in
            guard !state.isCut else { return (true, true) }
            if isMutation { state.mutationCount += 1 }
            guard let left = state.requestsLeft else { return (false, false) }
            state.requestsLeft = left - 1
            guard left <= 1 else { return (false, false) }
            state.isCut = true
            return (state.isCutBeforeRequest, true)
        }
        let dead = ObjectStoreError(.cancelled, "the mount is dead", outcomeIsUnknown: isMutation)
        guard !isLost else { throw dead }
        let answer = try await request()
        guard !isCut else { throw dead }
        return answer
    }
}

/// A store that ignores the conditions of a PUT, as old ones do.
struct UnconditionalStore: ObjectStore {
    private let next: any ObjectStore

    init(over next: any ObjectStore) { self.next = next }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await next.head(key, context)
    }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await next.list(prefix: prefix, after: after, limit: limit, context)
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        try await next.put(key, body, metadata, .none, context)
    }

    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await next.delete(keys, context)
    }
}
