// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import Logging
internal import Synchronization

/// Watches the layer below keep the contract of ``BlockStore``, as far as single calls show it, and traces them at debug.
///
/// Stands between two layers, in tests and under `--debug`. It watches both sides: what the caller asks (blocks on the disk,
/// contents of the right size, never two mutations of one block at once) and what it is answered (sizes, versions that agree
/// with the contents, extents that cover what was asked). A broken contract ends the process: going on would lose data.
///
/// - Concurrency: as ``BlockStore``.
public final class CheckedStore: BlockStore {
    private let next: any BlockStore
    private let name: String
    private let logger: Logger
    private let inFlight = Mutex(MutationsInFlight())

    /// The sizes of the store below.
    public let geometry: BlockGeometry

    /// Watches `next`.
    ///
    /// - Parameter name: What the log and a complaint call the layer below.
    public init(over next: any BlockStore, name: String, logger: Logger) {
        self.next = next
        self.name = name
        self.logger = logger
        geometry = next.geometry
    }

    /// Reads below and checks the answer; see ``BlockStore/read(_:ifNot:_:)``.
    public func read(
        _ block: BlockNumber, ifNot known: BlockVersion?, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockRead {
        demand(violation(ofBlock: block))
        let answer = try await traced("read", "\(block)") { () async throws(BlockStoreError) in
            try await next.read(block, ifNot: known, context)
        }
        demand(violation(ofAnswer: answer, known: known))
        return answer
    }

    /// Reads below and checks the answer; see ``BlockStore/readNow(_:)``. Not traced: it is the hot path.
    public func readNow(_ block: BlockNumber) -> BlockContents? {
        demand(violation(ofBlock: block))
        let answer = next.readNow(block)
        if let answer { demand(violation(ofContents: answer)) }
        return answer
    }

    /// Asks below; see ``BlockStore/isKnownZero(_:for:)``. Not traced.
    public func isKnownZero(_ block: BlockNumber, for use: ZeroUse) -> Bool {
        demand(violation(ofBlock: block))
        return next.isKnownZero(block, for: use)
    }

    /// Checks the order of mutations, writes below and checks the answer; see ``BlockStore/write(_:to:_:)``.
    public func write(
        _ contents: BlockContents, to block: BlockNumber, _ context: IOContext
    ) async throws(BlockStoreError) -> BlockVersion {
        demand(violation(ofBlock: block) ?? violation(ofContents: contents))
        demand(inFlight.withLock { $0.begin(block) })
        defer { inFlight.withLock { $0.end(block) } }
        let version = try await traced("write", "\(block)") { () async throws(BlockStoreError) in
            try await next.write(contents, to: block, context)
        }
        demand(violation(ofVersion: version, of: contents))
        return version
    }

    /// Checks the order of mutations and zeroes below; see ``BlockStore/zero(_:_:)``.
    public func zero(_ blocks: BlockSet, _ context: IOContext) async throws(BlockStoreError) {
        demand(violation(ofBlocks: blocks))
        demand(inFlight.withLock { $0.begin(blocks) })
        defer { inFlight.withLock { $0.end(blocks) } }
        try await traced("zero", "\(blocks.blockCount) blocks") { () async throws(BlockStoreError) in
            try await next.zero(blocks, context)
        }
    }

    /// Passes the scope down; see ``BlockStore/flush(_:)``.
    public func flush(_ scope: FlushScope) async throws(BlockStoreError) {
        var what = "everything"
        if case .blocks(let blocks) = scope {
            demand(violation(ofBlocks: blocks))
            what = "\(blocks.blockCount) blocks"
        }
        try await traced("flush", what) { () async throws(BlockStoreError) in try await next.flush(scope) }
    }

    /// Asks below and checks that the answer covers `blocks`; see ``BlockStore/extents(in:)``.
    public func extents(in blocks: BlockRange) async throws(BlockStoreError) -> [BlockExtent] {
        demand(violation(ofBlocks: BlockSet(blocks)))
        let extents = try await traced("extents", "\(blocks.count) blocks") { () async throws(BlockStoreError) in
            try await next.extents(in: blocks)
        }
        demand(violation(ofExtents: extents, in: blocks))
        return extents
    }

    private func demand(_ violation: String?) {
        if let violation { preconditionFailure("\(name) breaks the contract of block stores: \(violation)") }
    }

    private func traced<Output: Sendable>(
        _ verb: String, _ what: @autoclosure () -> String, _ call: () async throws(BlockStoreError) -> Output
    ) async throws(BlockStoreError) -> Output {
        guard logger.logLevel <= .debug else { return try await call() }
        let metadata: Logger.Metadata = ["store": "\(name)", "what": "\(what())"]
        logger.debug("\(verb) begins", metadata: metadata)
        do throws(BlockStoreError) {
            let output = try await call()
            logger.debug("\(verb) ends", metadata: metadata)
            return output
        } catch {
            logger.debug("\(verb) fails: \(error)", metadata: metadata)
            throw error
        }
    }
}
