// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Synchronization

/// A thread that does one thing beside the test and tells how it ended.
final class ReturningThread: Sendable {
    private let outcome = Mutex<Result<Void, any Error>?>(nil)

    /// Starts it.
    init(_ body: @escaping @Sendable () throws -> Void) {
        Thread.detachNewThread {
            let result = Result { try body() }
            self.outcome.withLock { $0 = result }
        }
    }

    /// Waits for its end.
    ///
    /// - Throws: What the body threw; `FixtureError` when it still runs after this time.
    func join(seconds: Double) throws {
        guard eventually(within: seconds, { outcome.withLock { $0 != nil } }), let result = outcome.withLock({ $0 }) else {
            throw FixtureError("a thread of the test still runs after \(seconds) s")
        }
        try result.get()
    }
}
