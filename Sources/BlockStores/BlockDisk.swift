// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// The bytes of a ``Disk`` as blocks: cuts each request into the parts of blocks that it touches.
///
/// A request within one block goes straight down. The parts of a larger one go down in parallel, at most `fanOutMax` at once,
/// and the answer is put together in the order of the disk, without a copy.
///
/// When a part fails, no further part is begun, and those under way are awaited: nothing of a request runs on after its
/// answer. The first error to come is the answer.
///
/// - Concurrency: as ``Disk``. Holds no state of its own.
public struct BlockDisk: Disk {
    /// The blocks.
    let next: any PartialBlockStore
    /// The sizes of ``next``, which never change; each request needs them.
    let geometry: BlockGeometry
    /// How many parts of one request are under way at once.
    let fanOutMax: Int

    /// Whether every mutation fails with `.readOnly`.
    public let isReadOnly: Bool

    /// Shows the blocks of `next` as a disk.
    ///
    /// - Parameters:
    ///   - fanOutMax: How many parts of one request are under way at once; at least 1.
    ///   - isReadOnly: Whether mutations are refused, here, before anything goes down.
    public init(over next: any PartialBlockStore, fanOutMax: Int, isReadOnly: Bool) {
        precondition(fanOutMax >= 1, "at least one part has to be under way")
        self.next = next
        geometry = next.geometry
        self.fanOutMax = fanOutMax
        self.isReadOnly = isReadOnly
    }

    /// All bytes of all blocks.
    public var sizeBytes: UInt64 { geometry.sizeBytes }

    /// The size of a block.
    public var preferredSizeBytes: Int { geometry.blockSize }

    /// Reads `range`; see ``Disk/read(_:_:)``.
    public func read(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError) -> DiskBytes {
        try check(range, "read")
        let blocks = geometry.blocks(touching: range)
        guard blocks.count > 1 else {
            guard let block = blocks.first else { return DiskBytes(.zeros(count: 0)) }
            let piece = geometry.piece(of: block, in: range)
            return DiskBytes(Self.run(try await next.read(piece.range, of: block, context), count: piece.range.count))
        }
        return try await readPieces(of: blocks, in: range, context)
    }

    /// Answers when every block of `range` is at hand; see ``Disk/readNow(_:)``. Zeros need no allocation.
    public func readNow(_ range: Range<UInt64>) -> DiskBytes? {
        guard geometry.contains(range) else { return nil }
        let blocks = geometry.blocks(touching: range)
        var runs: [DiskBytes.Run] = []
        for block in blocks {
            let piece = geometry.piece(of: block, in: range)
            guard let contents = next.readNow(piece.range, of: block) else { return nil }
            let run = Self.run(contents, count: piece.range.count)
            if blocks.count == 1 { return DiskBytes(run) }
            if runs.isEmpty {
                // As long as there is nothing but zeros, their number says it all.
                guard case .bytes = run else { continue }
                if piece.offsetInRequest > 0 { runs.append(.zeros(count: piece.offsetInRequest)) }
            }
            runs.append(run)
        }
        return runs.isEmpty ? DiskBytes(.zeros(count: Int(range.count))) : DiskBytes(runs)
    }

    /// Answers from where the bytes are when they are in one block; see ``Disk/readNow(_:lending:)``.
    public func readNow(_ range: Range<UInt64>, lending reader: (RawSpan) -> Void) -> PromptRead<DiskBytes> {
        guard geometry.contains(range) else { return .notNow }
        let blocks = geometry.blocks(touching: range)
        guard blocks.count == 1, let block = blocks.first else { return PromptRead(readNow(range)) }
        let piece = geometry.piece(of: block, in: range)
        return switch next.readNow(piece.range, of: block, lending: reader) {
        case .bytes(let contents): .bytes(DiskBytes(Self.run(contents, count: piece.range.count)))
        case .lent: .lent
        case .notNow: .notNow
        }
    }

    /// Writes `bytes` at `offset`; see ``Disk/write(_:at:_:)``. Blocks that are covered go down as whole blocks.
    public func write(_ bytes: BufferSlice, at offset: UInt64, _ context: IOContext) async throws(BlockStoreError) {
        try checkWritable("write")
        let (end, overflows) = offset.addingReportingOverflow(UInt64(bytes.count))
        let range = offset..<(overflows ? UInt64.max : end)
        try check(range, "write")
        let blocks = geometry.blocks(touching: range)
        guard blocks.count > 1 else {
            guard let block = blocks.first else { return }
            return try await change(.write(.bytes(bytes), geometry.piece(of: block, in: range)), context)
        }
        try await changeAll(
            blocks.map { block in
                let piece = geometry.piece(of: block, in: range)
                let part = bytes.slice(piece.offsetInRequest..<piece.offsetInRequest + piece.range.count)
                return .write(.bytes(part), piece)
            }, context)
    }

    /// Writes when every block takes its part at once; see ``Disk/writeNow(_:at:)``. The first that does not ends it.
    public func writeNow(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        let (end, overflows) = offset.addingReportingOverflow(UInt64(bytes.count))
        guard !isReadOnly, !overflows, geometry.contains(offset..<end) else { return false }
        let range = offset..<end
        for block in geometry.blocks(touching: range) {
            let piece = geometry.piece(of: block, in: range)
            let part = bytes[piece.offsetInRequest..<piece.offsetInRequest + piece.range.count]
            guard next.writeNow(UnsafeRawBufferPointer(rebasing: part), at: piece.range, of: block) else { return false }
        }
        return true
    }

    /// Makes `range` zeros: all blocks within it with one call, the edges beside it; see ``Disk/zero(_:_:)``.
    public func zero(_ range: Range<UInt64>, _ context: IOContext) async throws(BlockStoreError) {
        try checkWritable("zero")
        try check(range, "zero")
        let touched = geometry.blocks(touching: range)
        let whole = geometry.blocks(within: range)
        var changes: [Change] = []
        if !whole.isEmpty { changes.append(.zero(BlockSet(whole))) }
        let edges = touched.count > 1 ? [touched.first, touched.last] : [touched.first]
        for case let block? in edges where !whole.contains(block) {
            changes.append(.write(.zero, geometry.piece(of: block, in: range)))
        }
        guard changes.count > 1 else {
            guard let only = changes.first else { return }
            return try await change(only, context)
        }
        try await changeAll(changes, context)
    }

    /// Flushes the blocks that `range` touches, or everything; see ``Disk/flush(_:)``.
    public func flush(_ range: Range<UInt64>?) async throws(BlockStoreError) {
        guard let range else { return try await next.flush(.everything) }
        try check(range, "flush")
        try await next.flush(.blocks(BlockSet(geometry.blocks(touching: range))))
    }

    /// See ``Disk/flushNow()``.
    public func flushNow() -> Bool { next.flushNow() }

    /// Tells data from zeros, byte by byte; see ``Disk/extents(in:)``.
    public func extents(in range: Range<UInt64>) async throws(BlockStoreError) -> [DiskExtent] {
        try check(range, "examine")
        guard !range.isEmpty else { return [] }
        return try await next.extents(in: geometry.blocks(touching: range)).map { extent in
            let bytes = geometry.offset(of: extent.blocks.lowerBound)..<geometry.offset(of: extent.blocks.upperBound)
            return DiskExtent(range: bytes.clamped(to: range), kind: extent.kind)
        }
    }

    private func checkWritable(_ verb: String) throws(BlockStoreError) {
        guard !isReadOnly else { throw BlockStoreError(.readOnly, "cannot \(verb) the disk: it is read only") }
    }

    private func check(_ range: Range<UInt64>, _ verb: String) throws(BlockStoreError) {
        guard geometry.contains(range) else {
            throw BlockStoreError(
                .outOfRange,
                "cannot \(verb) bytes \(range.lowerBound) to \(range.upperBound) of the disk: it has \(sizeBytes) bytes")
        }
    }

    /// The run of an answer that `count` bytes of a block make.
    static func run(_ contents: BlockContents, count: Int) -> DiskBytes.Run {
        switch contents {
        case .zero: .zeros(count: count)
        case .bytes(let slice): .bytes(slice)
        }
    }
}
