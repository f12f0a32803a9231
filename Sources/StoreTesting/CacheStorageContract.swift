// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
internal import DataPath

/// The contract of ``CacheStorage`` as data: what memory and a cache file have in common. What a file promises about crashes is
/// tried on the file.
///
/// Each case gets a fresh storage of at least 4 slots for a disk of at least 16 blocks, and the size of a block.
public enum CacheStorageContract {
    /// One rule, and how it is tried.
    public struct Case: Sendable, CustomStringConvertible {
        /// The rule, as a sentence.
        public let description: String
        /// Tries it; throws ``BlockContractViolation`` when it is broken, or what the storage throws.
        public let run: @Sendable (any CacheStorage, _ blockSize: Int) async throws -> Void
    }

    /// All rules.
    public static let cases: [Case] = [
        Case(description: "a fresh storage has nothing to restore") { storage, _ in
            let (blocks, zeros) = try storage.restore()
            try BlockContractViolation.unless(blocks.isEmpty && zeros.isEmpty, "there is something to restore")
            try BlockContractViolation.unless(storage.isPersistent || !storage.isTrusted, "memory promises to be stable")
        },
        Case(description: "sectors read as what was written to them last, by parts and together, and no other slot is touched") {
            storage, blockSize in
            for seed in UInt64(1)...3 { try await tryRandomCalls(storage, blockSize, seed: seed) }
        },
        Case(description: "a slot that was released holds the next block as if it were new") { storage, blockSize in
            let slot = CacheSlot(rawValue: 2)
            for round in 0..<6 {
                let block = BlockNumber(round)
                try storage.assign(slot, to: block)
                let version = storage.version(of: block, in: slot)
                try BlockContractViolation.unless(version == .unknown, "a new block has the version \(version)")
                let bytes = [UInt8](repeating: UInt8(round + 1), count: blockSize)
                try await write(bytes, at: 0, of: block, in: slot, round % 2 == 0 ? .user : .store, storage)
                try expect(bytes, at: 0, of: block, in: slot, storage, "round \(round)")
                try storage.release(slot, of: block, wasDirty: round % 2 == 0)
                try await storage.commit()
            }
        },
        Case(description: "every write makes the mark greater, and nothing makes it less") { storage, blockSize in
            let slot = CacheSlot(rawValue: 0)
            try storage.assign(slot, to: BlockNumber(3))
            for round in UInt8(0)..<5 {
                let before = storage.mark
                try await write(
                    [UInt8](repeating: round, count: blockSize), at: 0, of: BlockNumber(3), in: slot, .user, storage)
                let after = storage.mark
                try BlockContractViolation.unless(after > before, "the mark is \(after.rawValue) after \(before.rawValue)")
                try await storage.commit()
                try BlockContractViolation.unless(storage.mark >= after, "a commit made the mark less")
            }
        },
        Case(description: "the version is the one recorded last, or not known") { storage, blockSize in
            let (block, slot) = (BlockNumber(5), CacheSlot(rawValue: 1))
            try storage.assign(slot, to: block)
            for (number, version) in [BlockVersion.tag("\"one\""), .tag("\"another, longer one\""), .unknown].enumerated() {
                let bytes = [UInt8](repeating: UInt8(number + 1), count: blockSize)
                try await write(bytes, at: 0, of: block, in: slot, .store, storage)
                try storage.setVersion(version, of: block, in: slot, upTo: storage.mark)
                let found = storage.version(of: block, in: slot)
                try BlockContractViolation.unless(found == version || found == .unknown, "\(found) instead of \(version)")
                try storage.setVersion(version, of: block, in: slot, upTo: nil)
                try expect(bytes, at: 0, of: block, in: slot, storage, "after a version was recorded")
            }
        },
        Case(description: "zeros are recorded and forgotten, and commits return, also with nothing to do") { storage, _ in
            try await storage.commit()
            try storage.recordZeros(BlockSet(blocks: [BlockNumber(1), BlockNumber(2), BlockNumber(9)]))
            try await storage.commit()
            try storage.forgetZeros(BlockSet(blocks: [BlockNumber(2), BlockNumber(11)]), upTo: storage.mark)
            try storage.forgetZeros(BlockSet(), upTo: storage.mark)
            try await storage.commit()
            try await storage.commit()
        },
        Case(description: "calls for different sectors do not disturb one another, nor does a commit beside them") {
            storage, blockSize in
            try await tryParallelCalls(storage, blockSize)
        },
    ]

    /// Writes sectors and reads any bytes of them, in all slots, and compares each read with an array.
    private static func tryRandomCalls(_ storage: any CacheStorage, _ blockSize: Int, seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let sectorSize = min(4096, blockSize)
        let slots = (UInt32(0)..<4).map(CacheSlot.init(rawValue:))
        var blocks: [BlockNumber] = []
        var model = [[UInt8]](repeating: [UInt8](repeating: 0, count: blockSize), count: 4)
        for (index, slot) in slots.enumerated() {
            blocks.append(BlockNumber(15 - 4 * index))
            try storage.assign(slot, to: blocks[index])
            // All sectors hold something from here on, so that any read is allowed.
            model[index] = generator.bytes(count: blockSize)
            try await write(model[index], at: 0, of: blocks[index], in: slot, .store, storage)
        }
        for step in 0..<100 {
            let index = Int.random(in: 0..<4, using: &generator)
            let first = Int.random(in: 0..<blockSize / sectorSize, using: &generator)
            let limit = Int.random(in: first + 1...blockSize / sectorSize, using: &generator)
            if generator.chance(0.5) {
                let bytes = generator.bytes(count: (limit - first) * sectorSize)
                let origin = generator.chance(0.7) ? CacheOrigin.user : .store
                try await write(bytes, at: first * sectorSize, of: blocks[index], in: slots[index], origin, storage)
                model[index].replaceSubrange(first * sectorSize..<limit * sectorSize, with: bytes)
            } else if generator.chance(0.1) {
                try await storage.commit()
            }
            let lower = Int.random(in: 0..<blockSize, using: &generator)
            let upper = Int.random(in: lower + 1...blockSize, using: &generator)
            let asked = Int.random(in: 0..<4, using: &generator)
            let bytes = Array(model[asked][lower..<upper])
            try expect(bytes, at: lower, of: blocks[asked], in: slots[asked], storage, "seed \(seed), step \(step)")
        }
        for (index, slot) in slots.enumerated() {
            try expect(model[index], at: 0, of: blocks[index], in: slot, storage, "seed \(seed), at the end")
            try storage.release(slot, of: blocks[index], wasDirty: true)
        }
        try await storage.commit()
    }

    private static func tryParallelCalls(_ storage: any CacheStorage, _ blockSize: Int) async throws {
        let sectorSize = min(4096, blockSize)
        let sectorCount = min(4, blockSize / sectorSize)
        for number in UInt32(0)..<4 { try storage.assign(CacheSlot(rawValue: number), to: BlockNumber(number + 8)) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<4 * sectorCount {
                let slot = CacheSlot(rawValue: UInt32(number / sectorCount))
                let block = BlockNumber(slot.rawValue + 8)
                group.addTask {
                    for round in 0..<20 {
                        let bytes = [UInt8](repeating: UInt8(10 * number + round & 255), count: sectorSize)
                        let offset = number % sectorCount * sectorSize
                        try await write(bytes, at: offset, of: block, in: slot, round % 3 == 0 ? .store : .user, storage)
                        try expect(bytes, at: offset, of: block, in: slot, storage, "sector \(number), round \(round)")
                        if round % 8 == 7 { try await storage.commit() }
                        try expect(bytes, at: offset, of: block, in: slot, storage, "sector \(number), round \(round)")
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private static func write(
        _ bytes: [UInt8], at offset: Int, of block: BlockNumber, in slot: CacheSlot, _ origin: CacheOrigin,
        _ storage: any CacheStorage
    ) async throws {
        let slice = BufferSlice(Buffer(copying: bytes))
        defer { withExtendedLifetime(slice) {} }
        let range = offset..<offset + bytes.count
        // Half of the writes, told apart by what they write, are offered to be made without a wait.
        if bytes[0] % 2 == 0, try storage.writeNow(slice.unsafeBytes, at: range, of: block, in: slot, origin) { return }
        try await storage.write(slice.unsafeBytes, at: range, of: block, in: slot, origin)
    }

    private static func expect(
        _ bytes: [UInt8], at offset: Int, of block: BlockNumber, in slot: CacheSlot, _ storage: any CacheStorage, _ when: String
    ) throws {
        var found = [UInt8](repeating: 0xa5, count: bytes.count)
        try found.withUnsafeMutableBytes { target in
            try storage.read(offset..<offset + bytes.count, of: block, in: slot, into: target)
        }
        try BlockContractViolation.unless(
            found == bytes, "other bytes at \(offset) of block \(block) than were written; \(when)")
        var lent: [UInt8]?
        let isLent = storage.lend(offset..<offset + bytes.count, of: block, in: slot) { span in
            lent = span.withUnsafeBytes { Array($0) }
        }
        try BlockContractViolation.unless(
            lent == (isLent ? bytes : nil), "other bytes are lent at \(offset) of block \(block) than were written; \(when)")
    }
}
