// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
internal import DataPath

/// The contract of ``PartialBlockStore`` as data, beside that of ``BlockStore``.
///
/// Each case gets a fresh store of zeros with at least 8 blocks of at least 64 bytes, and changes it.
public enum PartialBlockStoreContract {
    /// One rule, and how it is tried.
    public struct Case: Sendable, CustomStringConvertible {
        /// The rule, as a sentence.
        public let description: String
        /// Tries it; throws ``BlockContractViolation`` when it is broken, or what the store throws.
        public let run: @Sendable (any PartialBlockStore) async throws -> Void
    }

    /// All rules.
    public static let cases: [Case] = [
        Case(description: "a write to a part of a block leaves the rest as it was") { store in
            let size = store.geometry.blockSize
            for old in [UInt8(0), 9] {
                try await BlockStoreContract.write(old, to: BlockNumber(1), of: store)
                for range in [0..<1, size - 3..<size, 5..<size / 2] {
                    try await store.write(.bytes(.filled(7, count: range.count)), at: range, of: BlockNumber(1), .foreground)
                    let bytes = try await BlockStoreContract.read(store, BlockNumber(1))
                    try BlockContractViolation.unless(bytes[range].allSatisfy { $0 == 7 }, "the part is not what was written")
                    try await store.write(.bytes(.filled(old, count: range.count)), at: range, of: BlockNumber(1), .foreground)
                    try await BlockStoreContract.expect(store, BlockNumber(1), holds: old)
                }
            }
        },
        Case(description: "zeros written to parts make zeros, part by part and in the end throughout") { store in
            let size = store.geometry.blockSize
            try await BlockStoreContract.write(3, to: BlockNumber(2), of: store)
            try await store.write(.zero, at: 0..<size / 2, of: BlockNumber(2), .foreground)
            let bytes = try await BlockStoreContract.read(store, BlockNumber(2))
            try BlockContractViolation.unless(
                bytes[..<(size / 2)].allSatisfy { $0 == 0 } && bytes[(size / 2)...].allSatisfy { $0 == 3 }, "the halves are wrong"
            )
            try await store.write(.zero, at: size / 2..<size, of: BlockNumber(2), .foreground)
            try await BlockStoreContract.expect(store, BlockNumber(2), holds: 0)
            try await store.write(.zero, at: 1..<2, of: BlockNumber(2), .foreground)
            try await BlockStoreContract.expect(store, BlockNumber(2), holds: 0)
        },
        Case(description: "a part that is the whole block replaces it") { store in
            let size = store.geometry.blockSize
            for value in [UInt8(1), 0, 2] {
                try await store.write(.bytes(.filled(value, count: size)), at: 0..<size, of: BlockNumber(0), .foreground)
                try await BlockStoreContract.expect(store, BlockNumber(0), holds: value)
            }
        },
        Case(description: "a part of a block reads as that part") { store in
            let size = store.geometry.blockSize
            let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 + 1) }
            _ = try await store.write(.bytes(BufferSlice(Buffer(copying: bytes))), to: BlockNumber(3), .foreground)
            for range in [0..<size, 0..<1, size - 1..<size, 10..<20] {
                let part = try await store.read(range, of: BlockNumber(3), .foreground).allBytes(count: range.count)
                try BlockContractViolation.unless(part == Array(bytes[range]), "the bytes \(range) are others")
                let zeros = try await store.read(range, of: BlockNumber(4), .foreground).allBytes(count: range.count)
                try BlockContractViolation.unless(zeros == [UInt8](repeating: 0, count: range.count), "zeros are no zeros")
            }
        },
        Case(description: "a write taken at once is what reads give, and one not taken changes nothing") { store in
            let size = store.geometry.blockSize
            for round in 0..<4 {
                if round == 2 { try await BlockStoreContract.write(9, to: BlockNumber(1), of: store) }
                for (index, range) in [3..<5, 0..<size, size - 1..<size, 0..<1, size / 4..<size].enumerated() {
                    let value = UInt8(10 * round + index)
                    for block in [BlockNumber(1), BlockNumber(2)] {
                        try await takeOrRefuse(value, at: range, of: block, store)
                    }
                }
                if round == 1 { try await store.zero(BlockSet(blocks: [BlockNumber(2)]), .foreground) }
            }
        },
        Case(description: "writes to different parts of one block at once all land") { store in
            let step = store.geometry.blockSize / 16
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<16 {
                    group.addTask {
                        let range = index * step..<(index + 1) * step
                        let bytes = [UInt8](repeating: UInt8(index + 1), count: step)
                        if index % 2 == 1, bytes.withUnsafeBytes({ store.writeNow($0, at: range, of: BlockNumber(6)) }) { return }
                        let part = BlockContents.bytes(BufferSlice(Buffer(copying: bytes)))
                        try await store.write(part, at: range, of: BlockNumber(6), .foreground)
                    }
                }
                try await group.waitForAll()
            }
            let bytes = try await BlockStoreContract.read(store, BlockNumber(6))
            for index in 0..<16 {
                let part = bytes[index * step..<(index + 1) * step]
                try BlockContractViolation.unless(part.allSatisfy { Int($0) == index + 1 }, "write \(index) of 16 got lost")
            }
        },
        Case(description: "of mutations of one block at once, one wins whole") { store in
            let size = store.geometry.blockSize
            for _ in 0..<10 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await BlockStoreContract.write(1, to: BlockNumber(5), of: store) }
                    group.addTask { try await store.zero(BlockSet(blocks: [BlockNumber(4), BlockNumber(5)]), .foreground) }
                    group.addTask {
                        let two = BlockContents.bytes(.filled(2, count: size / 2))
                        try await store.write(two, at: 0..<size / 2, of: BlockNumber(5), .foreground)
                    }
                    try await group.waitForAll()
                }
                let bytes = try await BlockStoreContract.read(store, BlockNumber(5))
                let (head, tail) = (Set(bytes[..<(size / 2)]), Set(bytes[(size / 2)...]))
                try BlockContractViolation.unless(head.count == 1 && tail.count == 1, "the block is a mixture")
                try BlockContractViolation.unless(head == tail || head == [2], "the block is a mixture")
            }
        },
    ]

    /// Offers a write to be taken at once, and compares the block with what it has to hold then.
    private static func takeOrRefuse(
        _ value: UInt8, at range: Range<Int>, of block: BlockNumber, _ store: any PartialBlockStore
    ) async throws {
        var expected = try await BlockStoreContract.read(store, block)
        let bytes = [UInt8](repeating: value, count: range.count)
        let isTaken = bytes.withUnsafeBytes { store.writeNow($0, at: range, of: block) }
        if isTaken { expected.replaceSubrange(range, with: bytes) }
        let found = try await BlockStoreContract.read(store, block)
        try BlockContractViolation.unless(
            found == expected, isTaken ? "a write was taken, and lost" : "a write was refused, and changed the block")
        let copied = store.readNow(range, of: block)?.allBytes(count: range.count)
        for case let part? in [copied, try store.promptBytes(range, of: block)] {
            try BlockContractViolation.unless(part == Array(expected[range]), "other bytes at once than a write has taken")
        }
    }
}
