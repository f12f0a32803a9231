// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Synchronization
import Testing

@testable import Cryptography

@Suite("Idle contexts")
struct ContextPoolTests {
    /// Counts what a pool makes and frees; the contexts are addresses that nobody follows.
    private final class Maker: Sendable {
        let made = Atomic(0)
        let freed = Atomic(0)

        func makePool() -> ContextPool {
            ContextPool(
                making: { [self] in
                    let number = made.add(1, ordering: .relaxed).newValue
                    guard let context = OpaquePointer(bitPattern: number) else { fatalError("zero is no number of a context") }
                    return context
                },
                freeing: { [self] _ in freed.add(1, ordering: .relaxed) })
        }
    }

    @Test("one user after the other gets the same context; those who come together get one each")
    func reuse() {
        let maker = Maker()
        let pool = maker.makePool()
        for _ in 0..<10 { pool.withContext { _ in } }
        #expect(maker.made.load(ordering: .relaxed) == 1)
        pool.withContext { one in
            pool.withContext { two in
                #expect(one != two)
                #expect(pool.idleCount == 0)
            }
        }
        #expect(maker.made.load(ordering: .relaxed) == 2 && pool.idleCount == 2)
    }

    @Test("no more contexts stay than the limit, and none outlives its pool")
    func bound() {
        let maker = Maker()
        do {
            let pool = maker.makePool()
            func nest(_ depth: Int) {
                if depth > 0 { pool.withContext { _ in nest(depth - 1) } }
            }
            nest(ContextPool.idleCountMax + 3)
            #expect(pool.idleCount == ContextPool.idleCountMax)
            #expect(maker.freed.load(ordering: .relaxed) == 3)
        }
        #expect(maker.freed.load(ordering: .relaxed) == maker.made.load(ordering: .relaxed))
        #expect(maker.made.load(ordering: .relaxed) == ContextPool.idleCountMax + 3)
    }
}
