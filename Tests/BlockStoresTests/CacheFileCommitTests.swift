// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Synchronization
import Testing

@testable import BlockStores

@Suite("Commits of the cache file without a task, and what comes before them") struct CacheFileCommitTests {
    @Test("a commit at once is a commit, unless somebody has to be waited for")
    func commitNow() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        try await file.put(1, 0..<1, 1, 0)
        #expect(try file.commitNow())
        let lost = disk.image(losing: [0..<UInt64.max])
        #expect(try CacheFileRecorder.start(on: lost).contents.dirtyBlockCount == 1, "it is durable")
        let count = disk.state.withLock { $0.syncCount }
        #expect(try file.commitNow() && disk.state.withLock { $0.syncCount } == count, "nothing was written since")

        try await file.put(2, 0..<1, 1, 0)
        let isDone = Shared(true)
        disk.duringSync.withLock { hook in
            hook = { isDone.withLock { $0 = (try? file.commitNow()) ?? true } }
        }
        try await file.commit()
        #expect(!isDone.withLock { $0 }, "another one is under way")

        disk.duringSync.withLock { $0 = nil }
        try await file.put(3, 0..<1, 1, 0)
        disk.state.withLock { $0.failsSyncs = true }
        #expect(throws: BlockStoreError.self) { try file.commitNow() }
        #expect(try !file.isTrusted && !file.commitNow(), "nothing is promised any more")
    }

    @Test("a commit at once does not begin while a version is being overwritten")
    func commitNowDuringRewrite() throws {
        let (file, _) = try CacheFileRecorder.make()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        let plans = file.state.withLock { state in
            (0..<2).map { _ in
                let step = state.ledger.planWrite(slot: 0, sectors: 0..<1, isUser: true)
                guard case .go(let plan) = step else { return CacheFile.WritePlan?.none }
                if plan.rewriteCount == 0 { _ = state.ledger.finishWrite(plan) }
                return plan
            }
        }
        let rewrite = try #require(plans[1])
        #expect(try rewrite.rewriteCount == 1 && !file.commitNow())
        _ = file.state.withLock { $0.ledger.finishWrite(rewrite) }
        #expect(try file.commitNow())
    }

    @Test("the disk begins to write before a commit that is expected, and only then")
    func startsWriting() async throws {
        let (file, disk) = try CacheFileRecorder.make()
        try file.assign(CacheSlot(0), to: BlockNumber(1))
        for byte in UInt8(1)...2 {
            try await file.put(byte, 0..<1, 1, 0)
            try await file.commit()
        }
        #expect(disk.state.withLock { $0.startCount } == 0)
        try await file.put(3, 1..<2, 1, 0, .store)
        #expect(disk.state.withLock { $0.startCount } == 0, "nobody waits for what the store has")
        try await file.put(3, 0..<1, 1, 0)
        #expect(disk.state.withLock { $0.startCount } == 1)
        try await file.put(4, 0..<1, 1, 0)
        #expect(disk.state.withLock { $0.startCount } == 1)
    }
}
