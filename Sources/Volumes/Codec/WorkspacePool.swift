// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// Keeps the working memory of a compression library from one block to the next.
///
/// Making it anew for each block costs as much as compressing a small one. There are as many in use as there are
/// callers; at most ``idleMax`` idle ones are kept.
///
/// - Concurrency: safe from anywhere; a workspace has one user at a time.
final class WorkspacePool<Workspace: Sendable>: Sendable {
    private let idle = Mutex<[Workspace]>([])
    private let idleMax: Int
    private let make: @Sendable () -> Workspace

    /// Makes an empty pool.
    ///
    /// - Parameter make: Makes one; called whenever none is idle.
    init(idleMax: Int, _ make: @escaping @Sendable () -> Workspace) {
        self.idleMax = idleMax
        self.make = make
    }

    /// How many nobody uses at present.
    var idleCount: Int { idle.withLock { $0.count } }

    /// Calls `body` with a workspace that is its alone, in whatever state its last use left it.
    func withWorkspace<Result, Failure: Error>(
        _ body: (Workspace) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let workspace = idle.withLock { $0.popLast() } ?? make()
        defer { idle.withLock { if $0.count < idleMax { $0.append(workspace) } } }
        return try body(workspace)
    }
}
