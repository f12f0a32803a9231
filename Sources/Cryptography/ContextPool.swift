// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// Contexts of libcrypto that are idle at the moment, with whatever costs time already worked into them.
///
/// A context serves one caller at a time. Callers that come together each get one of their own: an idle one or a new one; nobody
/// waits for the work of another. At most ``idleCountMax`` stay when the rush is over.
///
/// - Concurrency: safe from anywhere; the lock is held for the few nanoseconds of an append, never during the work.
/// - Source: 'man 7 openssl-threads': an object may be used by one thread at a time, whichever it is.
final class ContextPool: Sendable {
    /// More than threads that work at once; a context takes about a kilobyte.
    static let idleCountMax = 64

    // Proof for @unchecked: a context is either on the idle list, which only the mutex's holder reads, or lent to the one call of
    // `withContext` that took it off; the mutex orders the uses of two threads.
    private struct Context: @unchecked Sendable { let pointer: OpaquePointer }

    private let idle = Mutex<[Context]>([])
    private let make: @Sendable () -> OpaquePointer
    private let free: @Sendable (OpaquePointer) -> Void

    /// Makes an empty pool.
    ///
    /// - Parameters:
    ///   - make: Makes a context; called by several threads at once.
    ///   - free: Frees a context, and wipes what it keeps of a key.
    init(making make: @escaping @Sendable () -> OpaquePointer, freeing free: @escaping @Sendable (OpaquePointer) -> Void) {
        self.make = make
        self.free = free
    }

    deinit {
        idle.withLock { $0.forEach { free($0.pointer) } }
    }

    /// The number of idle contexts.
    var idleCount: Int { idle.withLock { $0.count } }

    /// Lends a context to `body`, in whatever state the last user left it. The pointer is valid only during the call.
    func withContext<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        let context = idle.withLock { $0.popLast() } ?? Context(pointer: make())
        defer { giveBack(context) }
        return body(context.pointer)
    }

    private func giveBack(_ context: Context) {
        let isKept = idle.withLock { idle in
            guard idle.count < Self.idleCountMax else { return false }
            idle.append(context)
            return true
        }
        if !isKept { free(context.pointer) }
    }
}
