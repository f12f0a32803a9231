// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Logging
import ObjectStores
import StoreTesting
import Synchronization
@testable import Volumes

/// A store whose lists take a second, may be cut short, and are noted; everything else passes.
final class ListingStore: ObjectStore {
    /// A page that was answered.
    struct Page: Sendable {
        let prefix: String
        let after: ObjectKey?
        let keys: [ObjectKey]
    }
    private struct State {
        var pages: [Page] = []
        var inFlight = 0
        var inFlightMost = 0
        var foregroundCount = 0
        var refusals: [ObjectStoreError] = []
    }
    private let next: any ObjectStore
    private let timeline: any Timeline
    private let pageMax: Int
    private let state = Mutex(State())

    init(over next: any ObjectStore, pageMax: Int = 1000, timeline: any Timeline) {
        self.next = next
        self.pageMax = pageMax
        self.timeline = timeline
    }

    var pages: [Page] { state.withLock { $0.pages } }
    /// How many lists were under way at once.
    var inFlightMost: Int { state.withLock { $0.inFlightMost } }
    /// How many lists somebody waited for.
    var foregroundCount: Int { state.withLock { $0.foregroundCount } }

    /// Lets the next lists fail, each with one of these.
    func refuse(_ errors: [ObjectStoreError]) { state.withLock { $0.refusals = errors } }

    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        let refusal: ObjectStoreError? = state.withLock { state in
            state.inFlight += 1
            state.inFlightMost = max(state.inFlightMost, state.inFlight)
            if context.priority == .foreground { state.foregroundCount += 1 }
            return state.refusals.isEmpty ? nil : state.refusals.removeFirst()
        }
        defer { state.withLock { $0.inFlight -= 1 } }
        try await pause()
        if let refusal { throw refusal }
        let page = try await next.list(prefix: prefix, after: after, limit: min(limit, pageMax), context)
        try await pause()
        state.withLock { $0.pages.append(Page(prefix: prefix, after: after, keys: page.entries.map(\.key))) }
        return page
    }

    private func pause() async throws(ObjectStoreError) {
        do {
            try await timeline.sleep(until: timeline.now + .milliseconds(500))
        } catch {
            throw ObjectStoreError(.cancelled, "cancelled", outcomeIsUnknown: false, cause: error)
        }
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

/// Notes what a survey tells.
final class SurveyRecorder: SurveyListener {
    private struct State {
        var calls: [String] = []
        var pages: [SurveyPage] = []
    }
    private let state = Mutex(State())

    /// `began`, `page` and `ended`, in order.
    var calls: [String] { state.withLock { $0.calls } }
    var pages: [SurveyPage] { state.withLock { $0.pages } }
    var present: [SurveyPage.Block] { pages.flatMap(\.present) }

    func surveyBegan() { state.withLock { $0.calls.append("began") } }
    func surveyAnswered(_ page: SurveyPage) {
        state.withLock { state in
            state.calls.append("page")
            state.pages.append(page)
        }
    }
    func surveyEnded() { state.withLock { $0.calls.append("ended") } }
}

/// A volume in a store in memory, with a zero map over it.
struct SurveyFixture: Sendable {
    let timeline = ManualTimeline()
    let memory = MemoryObjectStore()
    let store: ListingStore
    let keys: BlockKeyScheme
    let geometry: BlockGeometry
    let volume: DirectVolume
    let map: ZeroMap
    let recorder = SurveyRecorder()
    let log = LogRecorder(from: .info)

    /// - Parameter layers: What stands between the volume and the store whose lists are noted.
    init(
        prefix: String = "vm1", isHashed: Bool = false, blockCount: Int, pageMax: Int = 1000,
        layers: (ListingStore, ManualTimeline) -> any ObjectStore = { store, _ in store }
    ) throws {
        store = ListingStore(over: memory, pageMax: pageMax, timeline: timeline)
        keys = BlockKeyScheme(prefix: prefix, isHashed: isHashed)
        geometry = try required(BlockGeometry(blockSize: 512, blockCount: blockCount))
        volume = DirectVolume(
            over: layers(store, timeline), keys: keys, geometry: geometry, codec: plainCodec(blockSize: 512),
            isFirstBlockPresent: false, checksSizes: false, fence: nil,
            limits: SettlementLimits(window: window, retainedBytesMax: 1 << 20, watchedBlocksMax: 1000), timeline: timeline,
            logger: quiet)
        map = ZeroMap(over: volume)
    }

    func survey(_ spansMax: Int = 16) -> Survey {
        Survey(of: volume, spansMax: spansMax, listeners: [map, recorder], timeline: timeline, logger: log.logger)
    }

    /// Puts objects behind everybody's back.
    func put(_ objects: some Sequence<ObjectKey>) async throws {
        let body = BufferSlice(Buffer(copying: [UInt8](repeating: 7, count: 512)))
        for key in objects { _ = try await memory.put(key, body, ObjectMetadata(), .none, .background) }
    }

    /// Runs a whole survey.
    func run(_ spansMax: Int = 16, seed: UInt64 = 1) throws {
        let survey = survey(spansMax)
        try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 1_000_000) { await survey.run() }
    }

    /// The blocks that the map knows to be zero.
    var zeros: BlockSet {
        BlockSet(blocks: geometry.allBlocks.filter { map.readNow($0) != nil })
    }
}
