// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// How the parts of one request go down side by side.
extension BlockDisk {
    /// One part of a mutation.
    enum Change: Sendable {
        /// These contents, to this piece of a block.
        case write(BlockContents, BlockPiece)
        /// Whole blocks.
        case zero(BlockSet)
    }

    /// Reads several blocks: what is at hand at once, the rest in parallel.
    func readPieces(
        of blocks: BlockRange, in range: Range<UInt64>, _ context: IOContext
    ) async throws(BlockStoreError) -> DiskBytes {
        var runs: [DiskBytes.Run] = []
        runs.reserveCapacity(blocks.count)
        var missing: [Missing] = []
        for block in blocks {
            let piece = geometry.piece(of: block, in: range)
            if let contents = next.readNow(piece.range, of: block) {
                runs.append(Self.run(contents, count: piece.range.count))
            } else {
                missing.append(Missing(index: runs.count, piece: piece))
                runs.append(.zeros(count: piece.range.count))
            }
        }
        let next = next
        try await fanOut(missing, cancelsRest: true) { (missing: Missing) async throws(BlockStoreError) -> Found in
            let contents = try await next.read(missing.piece.range, of: missing.piece.block, context)
            return Found(index: missing.index, run: Self.run(contents, count: missing.piece.range.count))
        } onEach: { found in
            runs[found.index] = found.run
        }
        return DiskBytes(runs)
    }

    /// Makes several changes in parallel.
    func changeAll(_ changes: [Change], _ context: IOContext) async throws(BlockStoreError) {
        let disk = self
        // The parts under way are not cancelled when one fails: a mutation that has begun runs to its end.
        try await fanOut(changes, cancelsRest: false) { (part: Change) async throws(BlockStoreError) in
            try await disk.change(part, context)
        } onEach: { _ in
        }
    }

    /// Makes one change.
    func change(_ change: Change, _ context: IOContext) async throws(BlockStoreError) {
        switch change {
        case .zero(let blocks):
            try await next.zero(blocks, context)
        case .write(let contents, let piece) where geometry.isWhole(piece):
            _ = try await next.write(contents, to: piece.block, context)
        case .write(let contents, let piece):
            try await next.write(contents, at: piece.range, of: piece.block, context)
        }
    }

    /// A piece that has to be read, and the place of its run.
    private struct Missing: Sendable {
        let index: Int
        let piece: BlockPiece
    }

    /// What was read, and the place of its run.
    private struct Found: Sendable {
        let index: Int
        let run: DiskBytes.Run
    }

    /// Runs `operation` on each of `items`, at most `fanOutMax` at once; a single one without a task of its own.
    ///
    /// - Parameter cancelsRest: Whether those under way are cancelled when one fails. They are awaited in any case.
    /// - Throws: The first error to come; then no further item is begun.
    private func fanOut<Item: Sendable, Output: Sendable>(
        _ items: [Item], cancelsRest: Bool,
        _ operation: @escaping @Sendable (Item) async throws(BlockStoreError) -> Output,
        onEach: (Output) -> Void
    ) async throws(BlockStoreError) {
        if items.count <= 1 {
            for item in items { onEach(try await operation(item)) }
            return
        }
        let failure = await withTaskGroup(of: Result<Output, BlockStoreError>.self) { group in
            var failure: BlockStoreError?
            var rest = items.makeIterator()
            func beginNext() {
                guard let item = rest.next() else { return }
                group.addTask {
                    do throws(BlockStoreError) {
                        return .success(try await operation(item))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            for _ in 0..<fanOutMax { beginNext() }
            while let result = await group.next() {
                switch result {
                case .success(let output): onEach(output)
                case .failure(let error) where failure == nil:
                    failure = error
                    if cancelsRest { group.cancelAll() }
                case .failure: break
                }
                if failure == nil { beginNext() }
            }
            return failure
        }
        if let failure { throw failure }
    }
}
