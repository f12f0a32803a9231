// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Synchronization

@testable import BlockStores

/// A storage that says it outlives the process, and fails or waits where a test wants it to.
final class FaultyCacheStorage: CacheStorage {
    enum Verb: Sendable { case assign, read, write, setVersion, release, recordZeros, forgetZeros, commit }

    /// One call, with the slot if it names one.
    struct Call: Hashable, Sendable {
        let verb: Verb
        var block: BlockNumber?
        var slot: CacheSlot?
        var range: Range<Int>?
    }

    private struct State {
        var calls: [Call] = []
        var zeros = BlockSet()
        var writeCount: UInt64 = 0
        var versions: [CacheSlot: BlockVersion] = [:]
        var fault: (@Sendable (Call) -> BlockStoreError?)?
        var trust: @Sendable () -> Bool = { true }
        var restored: [RestoredBlock] = []
    }
    private let memory: MemoryCacheStorage
    private let state = Mutex(State())
    /// What a write waits for; a write that cannot wait then says so.
    private let gate: (@Sendable (Call) async -> Void)?
    /// What a commit waits for.
    private let commitGate: (@Sendable () async -> Void)?

    init(
        slotCount: Int, gate: (@Sendable (Call) async -> Void)? = nil, commitGate: (@Sendable () async -> Void)? = nil
    ) throws {
        memory = try MemoryCacheStorage(slotCount: slotCount, blockSize: CacheFixture.blockSize)
        self.gate = gate
        self.commitGate = commitGate
    }

    /// What was asked of it, in order.
    var calls: [Call] { state.withLock { $0.calls } }
    /// The blocks that are recorded as zeroed.
    var zeros: BlockSet { state.withLock { $0.zeros } }

    /// From now on calls fail as `fault` says.
    func fail(_ fault: (@Sendable (Call) -> BlockStoreError?)?) { state.withLock { $0.fault = fault } }
    /// From now on it is trusted as `trust` says, which is asked each time.
    func trust(_ trust: @escaping @Sendable () -> Bool) { state.withLock { $0.trust = trust } }
    /// What ``restore()`` shall find.
    func leave(_ blocks: [RestoredBlock], zeros: BlockSet) {
        state.withLock { state in
            state.restored = blocks
            state.zeros = zeros
        }
    }

    private func note(
        _ verb: Verb, _ block: BlockNumber? = nil, _ slot: CacheSlot? = nil, _ range: Range<Int>? = nil
    ) throws(BlockStoreError) {
        let call = Call(verb: verb, block: block, slot: slot, range: range)
        let fault = state.withLock { state in
            state.calls.append(call)
            return state.fault
        }
        if let error = fault?(call) { throw error }
    }

    var slotCount: Int { memory.slotCount }
    var isPersistent: Bool { true }
    var isTrusted: Bool { state.withLock { $0.trust }() }
    var mark: CacheMark { CacheMark(rawValue: state.withLock { $0.writeCount }) }

    func restore() throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet) {
        state.withLock { ($0.restored, $0.zeros) }
    }

    func assign(_ slot: CacheSlot, to block: BlockNumber) throws(BlockStoreError) {
        try note(.assign, block, slot)
        try memory.assign(slot, to: block)
    }

    func read(
        _ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, into target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) {
        try note(.read, block, slot, range)
        try memory.read(range, of: block, in: slot, into: target)
    }

    func write(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) async throws(BlockStoreError) {
        try note(.write, block, slot, range)
        await gate?(Call(verb: .write, block: block, slot: slot, range: range))
        try memory.write(bytes, at: range, of: block, in: slot, origin)
        state.withLock { $0.writeCount += 1 }
    }

    func writeNow(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> Bool { false }

    func setVersion(
        _ version: BlockVersion, of block: BlockNumber, in slot: CacheSlot, upTo mark: CacheMark?
    ) throws(BlockStoreError) {
        try note(.setVersion, block, slot)
        state.withLock { $0.versions[slot] = version }
    }

    func version(of block: BlockNumber, in slot: CacheSlot) -> BlockVersion {
        state.withLock { $0.versions[slot] ?? .unknown }
    }

    func release(_ slot: CacheSlot, of block: BlockNumber, wasDirty: Bool) throws(BlockStoreError) {
        try note(.release, block, slot)
        try memory.release(slot, of: block, wasDirty: wasDirty)
    }

    func recordZeros(_ blocks: BlockSet) throws(BlockStoreError) {
        try note(.recordZeros)
        state.withLock { $0.zeros.formUnion(blocks) }
    }

    func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError) {
        try note(.forgetZeros)
        state.withLock { $0.zeros = $0.zeros.subtracting(blocks) }
    }

    func commit() async throws(BlockStoreError) {
        try note(.commit)
        await commitGate?()
    }

    func commitNow() throws(BlockStoreError) -> Bool {
        guard commitGate == nil, isTrusted else { return false }
        try note(.commit)
        return true
    }
}
