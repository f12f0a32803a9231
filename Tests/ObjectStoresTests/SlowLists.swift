// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Synchronization

/// A store whose lists show a moment that is long past when they arrive.
final class SlowLists: ObjectStore {
    private let next: any ObjectStore
    private let pauseMax: Duration
    private let timeline: any Timeline
    private let generator: Mutex<SeededGenerator>

    init(over next: any ObjectStore, pauseMax: Duration, seed: UInt64, timeline: any Timeline) {
        self.next = next
        self.pauseMax = pauseMax
        self.timeline = timeline
        generator = Mutex(SeededGenerator(seed: seed))
    }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        let page = try await next.list(prefix: prefix, after: after, limit: limit, context)
        let pause = generator.withLock { $0.duration(upTo: pauseMax) }
        do {
            try await timeline.sleep(until: timeline.now + pause)
        } catch {
            throw ObjectStoreError(.cancelled, "cancelled", outcomeIsUnknown: false, cause: error)
        }
        return page
    }

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
    }

    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await next.head(key, context)
    }

    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        try await next.put(key, body, metadata, condition, context)
    }

    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await next.delete(keys, context)
    }
}
