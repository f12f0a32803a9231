// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import StoreTesting
import Synchronization

@testable import Daemon

/// A disk with one cache file, in memory: it outlives every mount of a test, and so a crash.
final class FakeCacheDisk: Sendable {
    /// What a file holds.
    struct File {
        var token: UInt32?
        /// Blocks that the store does not have, each full of one byte.
        var unsaved: [BlockNumber: UInt8] = [:]
        var key: [UInt8]?
    }

    struct State {
        var file: File? = File()
        var aside: [File] = []
        var isOpen = false
        /// What happened, in order: `record 00000007`.
        var log: [String] = []
        var failure: BlockStoreError?
    }
    let state = Mutex(State())

    var place: CacheFilePlace {
        CacheFilePlace(
            path: "/c",
            open: { [self] geometry, slotCount, key throws(BlockStoreError) in
                try state.withLock { (state) throws(BlockStoreError) in
                    if let failure = state.failure { throw failure }
                    guard !state.isOpen else { throw BlockStoreError(.io, "cache file \"/c\" is in use") }
                    state.isOpen = true
                    state.file = state.file ?? File()
                    state.file?.key = key?.withBytes { Array($0) }
                }
                return try FakeCacheFile(on: self, geometry, slotCount: slotCount)
            },
            inspect: { [self] () throws(BlockStoreError) in
                try state.withLock { (state) throws(BlockStoreError) in
                    guard !state.isOpen else { throw BlockStoreError(.io, "cache file \"/c\" is in use") }
                    return state.file?.unsaved.count
                }
            },
            setAside: { [self] () throws(BlockStoreError) in
                state.withLock { state in
                    state.log.append("set aside")
                    if let file = state.file { state.aside.append(file) }
                    state.file = nil
                    // Locks are those of the file, not of its name.
                    state.isOpen = false
                    return "/c.1"
                }
            })
    }

    func takeLog() -> [String] {
        state.withLock { state in
            defer { state.log = [] }
            return state.log
        }
    }
}

/// The file, open. Blocks that came from an earlier run are restored, and count as saved once the store has them.
final class FakeCacheFile: OpenCacheFile {
    private let disk: FakeCacheDisk
    private let memory: MemoryCacheStorage
    private let geometry: BlockGeometry
    let slotCount: Int
    let isPersistent = true
    let isTrusted = true
    var mark: CacheMark { memory.mark }

    init(on disk: FakeCacheDisk, _ geometry: BlockGeometry, slotCount: Int) throws(BlockStoreError) {
        self.disk = disk
        self.geometry = geometry
        self.slotCount = slotCount
        memory = try MemoryCacheStorage(slotCount: slotCount, blockSize: geometry.blockSize)
    }

    var token: UInt32? { disk.state.withLock { $0.file?.token } }
    var unsavedBlockCount: Int { disk.state.withLock { $0.file?.unsaved.count ?? 0 } }
    let isDoubtful = false

    func record(token: UInt32?) throws(BlockStoreError) {
        disk.state.withLock { state in
            state.log.append("record \(token.map { String($0) } ?? "none")")
            state.file?.token = token
        }
    }

    func close(keepsToken: Bool) async throws(BlockStoreError) {
        disk.state.withLock { state in
            state.log.append(keepsToken ? "close with token" : "close")
            if !keepsToken { state.file?.token = nil }
            state.isOpen = false
        }
    }

    func restore() throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet) {
        let unsaved = disk.state.withLock { $0.file?.unsaved ?? [:] }
        var blocks: [RestoredBlock] = []
        for (index, (block, byte)) in unsaved.sorted(by: { $0.key < $1.key }).enumerated() {
            let slot = CacheSlot(rawValue: UInt32(index))
            try memory.assign(slot, to: block)
            let bytes = [UInt8](repeating: byte, count: geometry.blockSize)
            let result = bytes.withUnsafeBytes { bytes in
                Result { () throws(BlockStoreError) in
                    try memory.writeNow(bytes, at: 0..<bytes.count, of: block, in: slot, .user)
                }
            }
            _ = try result.get()
            let sectors = geometry.blockSize / min(4096, geometry.blockSize)
            let bits: [UInt64] = [sectors == 64 ? .max : (1 << UInt64(sectors)) - 1]
            blocks.append(RestoredBlock(block: block, slot: slot, valid: bits, dirty: bits, isZeroElsewhere: false))
        }
        return (blocks, BlockSet())
    }

    func setVersion(
        _ version: BlockVersion, of block: BlockNumber, in slot: CacheSlot, upTo mark: CacheMark?
    ) throws(BlockStoreError) {
        if mark != nil { disk.state.withLock { _ = $0.file?.unsaved.removeValue(forKey: block) } }
        try memory.setVersion(version, of: block, in: slot, upTo: mark)
    }

    func assign(_ slot: CacheSlot, to block: BlockNumber) throws(BlockStoreError) { try memory.assign(slot, to: block) }
    func read(
        _ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, into target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) { try memory.read(range, of: block, in: slot, into: target) }
    func write(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) async throws(BlockStoreError) { _ = try memory.writeNow(bytes, at: range, of: block, in: slot, origin) }
    func writeNow(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> Bool { try memory.writeNow(bytes, at: range, of: block, in: slot, origin) }
    func version(of block: BlockNumber, in slot: CacheSlot) -> BlockVersion { memory.version(of: block, in: slot) }
    func release(_ slot: CacheSlot, of block: BlockNumber, wasDirty: Bool) throws(BlockStoreError) {
        try memory.release(slot, of: block, wasDirty: wasDirty)
    }
    func recordZeros(_ blocks: BlockSet) throws(BlockStoreError) { try memory.recordZeros(blocks) }
    func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError) {
        try memory.forgetZeros(blocks, upTo: mark)
    }
    func commit() async throws(BlockStoreError) {}
}
