// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import StoreTesting
import Synchronization
import Testing

@testable import BlockStores

/// A cache over a store in memory, whose calls a test may hold, on a clock that moves when nothing else can be done.
///
/// Blocks of 128 bytes with sectors of 32.
struct CacheFixture: Sendable {
    static let blockSize = 128
    static let sectorSize = 32

    let memory: MemoryBlockStore
    let zeroMap: ZeroMap
    let cache: BlockCache
    let timeline: ManualTimeline
    let log = TestLog()

    init(
        blockCount: Int = 64, _ settings: CacheSettings, timeline: ManualTimeline, storage: (any CacheStorage)? = nil,
        hook: MemoryBlockStore.Hook? = nil
    ) throws {
        self.timeline = timeline
        memory = MemoryBlockStore(geometry: try geometry(Self.blockSize, blockCount), answersNow: false, hook: hook)
        let log = log
        let logger = Logger(label: "test") { _ in TestLogHandler(log: log) }
        zeroMap = ZeroMap(over: CheckedStore(over: memory, name: "memory", logger: logger))
        cache = try BlockCache(
            over: CheckedStore(over: zeroMap, name: "zero map", logger: logger),
            storage: storage ?? MemoryCacheStorage(slotCount: settings.slotCount, blockSize: Self.blockSize),
            settings: settings, sectorSize: Self.sectorSize, pool: testPool, timeline: timeline, logger: logger)
    }

    /// Runs `body` with the cache's tasks beside it, everything in an order that follows from a seed.
    static func run(
        seed: UInt64 = 1, _ settings: CacheSettings, blockCount: Int = 64, storage: (any CacheStorage)? = nil,
        hook: MemoryBlockStore.Hook? = nil, _ body: @escaping @Sendable (CacheFixture) async throws -> Void
    ) throws {
        let timeline = ManualTimeline()
        try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 2_000_000) {
            let fixture = try CacheFixture(blockCount: blockCount, settings, timeline: timeline, storage: storage, hook: hook)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { await fixture.cache.run() }
                try await body(fixture)
                tasks.cancelAll()
            }
        }
    }

    /// Writes `value` to every byte of `range` of `block`.
    func write(_ value: UInt8, at range: Range<Int> = 0..<blockSize, of block: Int) async throws {
        try await cache.write(.bytes(.filled(value, count: range.count)), at: range, of: BlockNumber(block), .foreground)
    }

    /// The bytes of `range` of `block`.
    func read(_ range: Range<Int> = 0..<blockSize, of block: Int) async throws -> [UInt8] {
        let contents = try await cache.read(range, of: BlockNumber(block), .foreground)
        var bytes = [UInt8](repeating: 0, count: range.count)
        bytes.withUnsafeMutableBytes { contents.copy(to: $0) }
        return bytes
    }

    /// The bytes of `block` in the store.
    func stored(_ block: Int) -> [UInt8] { memory.bytes(of: BlockNumber(block)) }

    /// Puts a block into the store, past cache and map.
    func store(_ value: UInt8, in block: Int) async throws {
        _ = try await memory.write(.bytes(.filled(value, count: Self.blockSize)), to: BlockNumber(block), .foreground)
    }

    /// Lets the clock run for a while.
    func pass(_ duration: Duration) async throws { try await timeline.sleep(until: timeline.now + duration) }
}

/// What was logged.
final class TestLog: Sendable {
    private let entries = Mutex<[String]>([])
    var lines: [String] { entries.withLock { $0 } }
    func add(_ line: String) { entries.withLock { $0.append(line) } }
}

/// Keeps lines of level notice and above.
private struct TestLogHandler: LogHandler {
    let log: TestLog
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.notice

    init(log: TestLog) { self.log = log }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { log.add("\(event.level): \(event.message)") }
}

extension CacheSettings {
    /// Settings of which a test says what it needs.
    static func test(slots: Int, _ change: (inout CacheSettings) -> Void = { _ in }) -> CacheSettings {
        var settings = CacheSettings(slotCount: slots)
        settings.readAheadMax = 0
        change(&settings)
        return settings
    }
}

/// A value that the tasks of a test share.
final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
        value.withLock { value in body(&value) }
    }
}
