// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Synchronization

/// Blocks in memory, some of which take writes at once, as those in a cache do.
final class PromptStore: PartialBlockStore {
    /// What is wrong with it.
    enum Flaw { case losesWhatItTook, keepsWhatItRefused }

    private struct State {
        var bytes: [UInt8]
        var offers: [String] = []
    }

    let geometry: BlockGeometry
    private let flaw: Flaw?
    private let takes: @Sendable (BlockNumber) -> Bool
    private let state: Mutex<State>

    init(geometry: BlockGeometry, flaw: Flaw? = nil, takes: @escaping @Sendable (BlockNumber) -> Bool) {
        self.geometry = geometry
        self.flaw = flaw
        self.takes = takes
        state = Mutex(State(bytes: [UInt8](repeating: 0, count: Int(geometry.sizeBytes))))
    }

    /// The writes that were offered to be taken at once, in order.
    var offers: [String] { state.withLock { $0.offers } }

    func writeNow(_ bytes: UnsafeRawBufferPointer, at range: Range<Int>, of block: BlockNumber) -> Bool {
        let isTaken = takes(block)
        let isStored = isTaken ? flaw != .losesWhatItTook : flaw == .keepsWhatItRefused
        state.withLock { state in
            state.offers.append("\(block) \(range)")
            if isStored { state.bytes.replaceSubrange(positions(range, block), with: bytes) }
        }
        return isTaken
    }

    func readNow(_ range: Range<Int>, of block: BlockNumber) -> BlockContents? {
        takes(block) ? contents(range, block) : nil
    }
    func readNow(_ block: BlockNumber) -> BlockContents? { readNow(0..<geometry.blockSize, of: block) }

    func read(
        _ range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockContents {
        contents(range, block)
    }
    func read(_ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext) async throws(BlockStoreError) -> BlockRead {
        .block(contents(0..<geometry.blockSize, block), .unknown)
    }

    func write(
        _ contents: BlockContents, at range: Range<Int>, of block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) {
        state.withLock { state in
            state.bytes.withUnsafeMutableBytes { bytes in
                contents.copy(to: UnsafeMutableRawBufferPointer(rebasing: bytes[positions(range, block)]))
            }
        }
    }
    func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        try await write(contents, at: 0..<geometry.blockSize, of: block, context)
        return .unknown
    }

    func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        for block in blocks.blocks { _ = try await write(.zero, to: block, context) }
    }
    func flush(_ scope: FlushScope) async throws(BlockStoreError) {}
    func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        blocks.isEmpty ? [] : [BlockExtent(blocks: blocks, kind: .data)]
    }

    private func positions(_ range: Range<Int>, _ block: BlockNumber) -> Range<Int> {
        let start = Int(geometry.offset(of: block))
        return start + range.lowerBound..<start + range.upperBound
    }

    private func contents(_ range: Range<Int>, _ block: BlockNumber) -> BlockContents {
        let bytes = state.withLock { Array($0.bytes[positions(range, block)]) }
        return .bytes(BufferSlice(Buffer(copying: bytes)))
    }
}
