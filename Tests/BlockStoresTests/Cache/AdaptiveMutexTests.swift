// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Dispatch
import Testing

@testable import BlockStores

@Suite("AdaptiveMutex") struct AdaptiveMutexTests {
    private final class Counter: Sendable {
        let mutex = AdaptiveMutex([0, 0])
    }

    @Test("threads that change a state at once lose nothing, and an error gives the lock back")
    func threads() {
        let counter = Counter()
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for round in 0..<20_000 {
                do throws(BlockStoreError) {
                    try counter.mutex.withLock { state throws(BlockStoreError) in
                        state[0] += 1
                        if round % 100 == thread { throw BlockStoreError(.io, "planned") }
                        state[1] += 1
                    }
                } catch {
                    counter.mutex.withLock { $0[1] += 1 }
                }
            }
        }
        #expect(counter.mutex.withLock { $0 } == [160_000, 160_000])
    }
}
