// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
public import DataPath

/// A rule of a contract that a store broke.
public struct BlockContractViolation: Error, CustomStringConvertible {
    /// What was expected, and what came.
    public let description: String

    /// Throws when `holds` is false.
    static func unless(_ holds: Bool, _ description: @autoclosure () -> String) throws(BlockContractViolation) {
        guard holds else { throw BlockContractViolation(description: description()) }
    }
}

/// The contract of ``BlockStore`` as data: cases that every implementation, and every pair of layers, has to pass.
///
/// Each case gets a fresh store of zeros with at least 8 blocks of at least 64 bytes, and changes it.
public enum BlockStoreContract {
    /// One rule, and how it is tried.
    public struct Case: Sendable, CustomStringConvertible {
        /// The rule, as a sentence.
        public let description: String
        /// Tries it; throws ``BlockContractViolation`` when it is broken, or what the store throws.
        public let run: @Sendable (any BlockStore) async throws -> Void
    }

    /// All rules.
    public static let cases: [Case] = reading + changing + extents

    private static let reading = [
        Case(description: "a block never written reads as zero") { store in
            for block in [BlockNumber(0), store.geometry.allBlocks.upperBound.advanced(by: -1)] {
                try await expect(store, block, holds: 0)
            }
        },
        Case(description: "a block reads as what was written to it last") { store in
            for value in [UInt8(1), 2, 3] {
                for block in store.geometry.allBlocks.prefix(8) { try await write(value, to: block, of: store) }
                for block in store.geometry.allBlocks.prefix(8) { try await expect(store, block, holds: value) }
            }
        },
        Case(description: "a part of a larger buffer is written as it is") { store in
            let size = store.geometry.blockSize
            let buffer = Buffer(copying: (0..<size * 3).map { UInt8(truncatingIfNeeded: $0 / 7) })
            let slice = BufferSlice(buffer, range: size / 2..<size / 2 + size)
            _ = try await store.write(.bytes(slice), to: BlockNumber(2), .foreground)
            let bytes = try await read(store, BlockNumber(2))
            try BlockContractViolation.unless(bytes == slice.bytes, "the block has other bytes than the slice")
        },
        Case(description: "a version just read validates or is answered by the same block") { store in
            for value in [UInt8(5), 0] {
                try await write(value, to: BlockNumber(1), of: store)
                guard case .block(_, let version) = try await store.read(BlockNumber(1), ifNot: nil, .foreground) else {
                    throw BlockContractViolation(description: "unchanged, although no version is known")
                }
                if case .block(let contents, _) = try await store.read(BlockNumber(1), ifNot: version, .foreground) {
                    let bytes = contents.allBytes(count: store.geometry.blockSize)
                    try BlockContractViolation.unless(bytes.allSatisfy { $0 == value }, "the block is another one")
                }
            }
        },
        Case(description: "a version of other bytes never validates, and an unknown one neither") { store in
            var versions: [BlockVersion] = [.unknown]
            for value in [UInt8(1), 2, 0, 3] {
                try await write(value, to: BlockNumber(1), of: store)
                for version in versions {
                    guard case .block(let contents, _) = try await store.read(BlockNumber(1), ifNot: version, .foreground) else {
                        throw BlockContractViolation(description: "version \(version) validates for other bytes")
                    }
                    let bytes = contents.allBytes(count: store.geometry.blockSize)
                    try BlockContractViolation.unless(bytes.allSatisfy { $0 == value }, "the block is not \(value) throughout")
                }
                if case .block(_, let version) = try await store.read(BlockNumber(1), ifNot: nil, .foreground) {
                    versions.append(version)
                }
            }
        },
        Case(description: "what is answered at once is what a read gives") { store in
            for value in [UInt8(0), 7, 0, 9] {
                try await write(value, to: BlockNumber(3), of: store)
                for _ in 0..<2 {
                    if let now = store.readNow(BlockNumber(3)) {
                        let bytes = now.allBytes(count: store.geometry.blockSize)
                        try BlockContractViolation.unless(
                            bytes.allSatisfy { $0 == value }, "at once comes \(bytes[0]), not \(value)")
                    }
                    try await expect(store, BlockNumber(3), holds: value)
                }
            }
        },
        Case(description: "a read beside a write gives the old block or the new one, whole") { store in
            try await write(1, to: BlockNumber(4), of: store)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { for value in UInt8(2)..<20 { try await write(value, to: BlockNumber(4), of: store) } }
                for _ in 0..<3 {
                    group.addTask {
                        var newest = UInt8(0)
                        for _ in 0..<20 {
                            let bytes = try await read(store, BlockNumber(4))
                            try BlockContractViolation.unless(Set(bytes).count == 1, "a read gives a torn block")
                            try BlockContractViolation.unless(bytes[0] >= newest, "a read gives an older block than one before")
                            newest = bytes[0]
                        }
                    }
                }
                try await group.waitForAll()
            }
        },
    ]

    private static let changing = [
        Case(description: "zeros written, as a value or as bytes, read as zero") { store in
            for zeros in [BlockContents.zero, .bytes(.filled(0, count: store.geometry.blockSize))] {
                try await write(8, to: BlockNumber(2), of: store)
                _ = try await store.write(zeros, to: BlockNumber(2), .foreground)
                try await expect(store, BlockNumber(2), holds: 0)
                _ = try await store.write(zeros, to: BlockNumber(2), .foreground)
                try await expect(store, BlockNumber(2), holds: 0)
            }
        },
        Case(description: "zeroing a set makes its blocks zero and no other") { store in
            for block in store.geometry.allBlocks.prefix(8) { try await write(6, to: block, of: store) }
            let set = BlockSet(blocks: [0, 2, 3, 6].map { BlockNumber($0) })
            for _ in 0..<2 {
                try await store.zero(set, .foreground)
                for block in store.geometry.allBlocks.prefix(8) {
                    try await expect(store, block, holds: set.contains(block) ? 0 : 6)
                }
            }
        },
        Case(description: "zeroing no blocks changes nothing") { store in
            try await write(6, to: BlockNumber(0), of: store)
            try await store.zero(BlockSet(), .foreground)
            try await expect(store, BlockNumber(0), holds: 6)
        },
        Case(description: "a block written after it was zeroed holds what was written") { store in
            for value in [UInt8(1), 2] {
                try await store.zero(BlockSet(store.geometry.allBlocks), .foreground)
                try await expect(store, BlockNumber(5), holds: 0)
                try await write(value, to: BlockNumber(5), of: store)
                try await expect(store, BlockNumber(5), holds: value)
            }
        },
        Case(description: "writes of different blocks at once all land") { store in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for block in store.geometry.allBlocks.prefix(8) {
                    group.addTask { try await write(UInt8(block.rawValue) + 1, to: block, of: store) }
                }
                try await group.waitForAll()
            }
            for block in store.geometry.allBlocks.prefix(8) {
                try await expect(store, block, holds: UInt8(block.rawValue) + 1)
            }
        },
        Case(description: "a flush of everything, of some blocks and of none changes nothing and returns") { store in
            try await write(4, to: BlockNumber(1), of: store)
            try await store.flush(.everything)
            try await store.flush(.blocks(BlockSet(blocks: [BlockNumber(1), BlockNumber(7)])))
            try await store.flush(.blocks(BlockSet()))
            try await expect(store, BlockNumber(1), holds: 4)
        },
    ]

    private static let extents = [
        Case(description: "extents cover what was asked, and what they call zero reads as zero") { store in
            for block in [1, 2, 5] { try await write(3, to: BlockNumber(block), of: store) }
            try await store.zero(BlockSet(blocks: [BlockNumber(2), BlockNumber(6)]), .foreground)
            for range in [BlockNumber(0)..<BlockNumber(8), BlockNumber(1)..<BlockNumber(2), BlockNumber(2)..<BlockNumber(7)] {
                let extents = try await store.extents(in: range)
                var next = range.lowerBound
                var last: BlockExtent.Kind?
                for extent in extents {
                    try BlockContractViolation.unless(extent.blocks.lowerBound == next, "extents do not follow on one another")
                    try BlockContractViolation.unless(!extent.blocks.isEmpty, "an extent is empty")
                    try BlockContractViolation.unless(extent.kind != last, "neighbours are of one kind")
                    for block in extent.blocks where extent.kind == .zero { try await expect(store, block, holds: 0) }
                    (next, last) = (extent.blocks.upperBound, extent.kind)
                }
                try BlockContractViolation.unless(next == range.upperBound, "extents end too early or too late")
            }
        }
    ]

    static func write(_ value: UInt8, to block: BlockNumber, of store: any BlockStore) async throws(BlockStoreError) {
        _ = try await store.write(.bytes(.filled(value, count: store.geometry.blockSize)), to: block, .foreground)
    }

    static func read(_ store: any BlockStore, _ block: BlockNumber) async throws -> [UInt8] {
        guard case .block(let contents, _) = try await store.read(block, ifNot: nil, .foreground) else {
            throw BlockContractViolation(description: "unchanged, although no version is known")
        }
        let bytes = contents.allBytes(count: store.geometry.blockSize)
        try BlockContractViolation.unless(bytes.count == store.geometry.blockSize, "a block has \(bytes.count) bytes")
        return bytes
    }

    static func expect(_ store: any BlockStore, _ block: BlockNumber, holds value: UInt8) async throws {
        let bytes = try await read(store, block)
        try BlockContractViolation.unless(
            bytes.allSatisfy { $0 == value }, "block \(block) holds \(Set(bytes).sorted()), not \(value) throughout")
    }
}

extension BlockContents {
    /// A copy of the bytes, of which there are `count`.
    public func allBytes(count: Int) -> [UInt8] {
        switch self {
        case .zero: [UInt8](repeating: 0, count: count)
        case .bytes(let slice): slice.bytes
        }
    }
}

extension BufferSlice {
    /// A buffer of `count` times `value`.
    public static func filled(_ value: UInt8, count: Int) -> BufferSlice {
        BufferSlice(Buffer(copying: [UInt8](repeating: value, count: count)))
    }
}
