// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Glibc
import StoreTesting
import Testing

@Suite("MemoryCacheStorage") struct MemoryCacheStorageTests {
    @Test(
        "memory keeps the contract of cache storages, for blocks of one sector and of many",
        arguments: [512, 4096, 65_536])
    func contract(blockSize: Int) async throws {
        for rule in CacheStorageContract.cases {
            let storage = try MemoryCacheStorage(slotCount: 5, blockSize: blockSize)
            await #expect(throws: Never.self, "\(rule)") { try await rule.run(storage, blockSize) }
        }
    }

    @Test("the contract catches a storage that mixes slots up, loses writes, or does not count")
    func contractCatches() async throws {
        for flaw in BrokenStorage.Flaw.allCases {
            var broken = 0
            for rule in CacheStorageContract.cases {
                let storage = BrokenStorage(next: try MemoryCacheStorage(slotCount: 5, blockSize: 8192), flaw: flaw)
                do { try await rule.run(storage, 8192) } catch is BlockContractViolation { broken += 1 }
            }
            #expect(broken > 0, "no rule catches \(flaw)")
        }
    }

    @Test("a sector that was never written costs no memory")
    func untouched() async throws {
        // More than the machine has; one sector each of a sixteenth of the slots is touched.
        let storage = try MemoryCacheStorage(slotCount: 1 << 16, blockSize: 1 << 20)
        let sector = [UInt8](repeating: 3, count: 4096)
        let before = try residentBytes()
        for number in stride(from: UInt32(0), to: 1 << 16, by: 16) {
            let slot = CacheSlot(rawValue: number)
            try storage.assign(slot, to: BlockNumber(number))
            try sector.withUnsafeBytes {
                try storage.write($0, at: 1 << 19..<1 << 19 + 4096, of: BlockNumber(number), in: slot, .user)
            }
        }
        // The sectors are 16 MiB, the blocks that they are in 4 GiB. Other tests run beside this one.
        #expect(try residentBytes() - before < 1 << 30)
        #expect(storage.mark == CacheMark(rawValue: 4096))
    }

    @Test("memory that cannot be had is a clear error", arguments: [1 << 31, 1 << 32])
    func tooMuch(slotCount: Int) throws {
        let error = #expect(throws: BlockStoreError.self) {
            _ = try MemoryCacheStorage(slotCount: slotCount, blockSize: 1 << 31)
        }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.hasPrefix("cannot take memory for a cache of \(slotCount) blocks of 2147483648 bytes: ") == true)
        #expect(error?.message.hasSuffix("; use a smaller --blockCacheSize") == true)
    }

    private func residentBytes() throws -> Int {
        let file = try #require(fopen("/proc/self/statm", "r"))
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 200)
        let text = try #require(fgets(&line, 200, file).map { String(cString: $0) })
        return try #require(Int(text.split(separator: " ")[1])) * sysconf(Int32(_SC_PAGESIZE))
    }
}

/// A storage with one flaw, to try the contract on.
struct BrokenStorage: CacheStorage {
    enum Flaw: CaseIterable {
        case sharesSlots, losesSecondSectors, losesWritesAtOnce, forgetsToCount, inventsVersions, restoresSomething,
            lendsOtherBytes
    }
    let next: MemoryCacheStorage
    /// None makes it a storage that lends nothing.
    let flaw: Flaw?

    var slotCount: Int { next.slotCount }
    var isPersistent: Bool { next.isPersistent }
    var isTrusted: Bool { next.isTrusted }
    var mark: CacheMark { flaw == .forgetsToCount ? CacheMark(rawValue: 0) : next.mark }

    func restore() throws(BlockStoreError) -> (blocks: [RestoredBlock], zeros: BlockSet) {
        (try next.restore().blocks, flaw == .restoresSomething ? BlockSet(blocks: [BlockNumber(0)]) : BlockSet())
    }
    func assign(_ slot: CacheSlot, to block: BlockNumber) throws(BlockStoreError) { try next.assign(slot, to: block) }
    func read(
        _ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, into target: UnsafeMutableRawBufferPointer
    ) throws(BlockStoreError) {
        try next.read(range, of: block, in: actual(slot), into: target)
    }
    func lend(_ range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, to reader: (RawSpan) -> Void) -> Bool {
        guard flaw == .lendsOtherBytes else { return false }
        return next.lend(range, of: block, in: CacheSlot(rawValue: (slot.rawValue + 1) % 4), to: reader)
    }
    func write(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) async throws(BlockStoreError) {
        if flaw == .losesSecondSectors, range.lowerBound > 0 { return }
        try next.write(bytes, at: range, of: block, in: actual(slot), origin)
    }
    func writeNow(
        _ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin
    ) throws(BlockStoreError) -> Bool {
        if flaw == .losesWritesAtOnce { return true }
        if flaw == .losesSecondSectors { return false }
        return try next.writeNow(bytes, at: range, of: block, in: actual(slot), origin)
    }
    func setVersion(
        _ version: BlockVersion, of block: BlockNumber, in slot: CacheSlot, upTo mark: CacheMark?
    ) throws(BlockStoreError) {
        try next.setVersion(version, of: block, in: slot, upTo: mark)
    }
    func version(of block: BlockNumber, in slot: CacheSlot) -> BlockVersion {
        flaw == .inventsVersions ? .tag("invented") : next.version(of: block, in: slot)
    }
    func release(_ slot: CacheSlot, of block: BlockNumber, wasDirty: Bool) throws(BlockStoreError) {
        try next.release(slot, of: block, wasDirty: wasDirty)
    }
    func recordZeros(_ blocks: BlockSet) throws(BlockStoreError) { try next.recordZeros(blocks) }
    func forgetZeros(_ blocks: BlockSet, upTo mark: CacheMark) throws(BlockStoreError) {
        try next.forgetZeros(blocks, upTo: mark)
    }
    func commit() async throws(BlockStoreError) { try await next.commit() }

    private func actual(_ slot: CacheSlot) -> CacheSlot { flaw == .sharesSlots ? CacheSlot(rawValue: 0) : slot }
}
