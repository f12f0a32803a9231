// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import BlockStores

@Suite("What the log hears of failing write-back") struct FailureLogTests {
    @Test("the first failure is told, then one a minute, then the end")
    func rate() {
        var log = FailureLog()
        let failure = BlockStoreError(.unreachable, "no route")
        let told = (0..<150).filter { log.note(failure, doing: "write", unsaved: 3, now: .seconds($0)) != nil }
        #expect(told == [0, 60, 120])
        #expect(log.note(nil, doing: "write", unsaved: 0, now: .seconds(150)) != nil)
        #expect(log.note(nil, doing: "write", unsaved: 0, now: .seconds(151)) == nil)
    }

    @Test("failures among successes are told once a minute, too, and so are their ends")
    func mixed() {
        var log = FailureLog()
        let failure = BlockStoreError(.corrupt, "one block is damaged")
        var told: [String] = []
        for second in 0..<150 {
            for outcome in [failure, nil] {
                switch log.note(outcome, doing: "write", unsaved: 1, now: .seconds(second)) {
                case .failing(let line): told.append("\(second) failing \(line.suffix(13))")
                case .recovered(let line): told.append("\(second) recovered \(line.suffix(11))")
                case nil: break
                }
            }
        }
        #expect(
            told == [
                "0 failing  (1 failures)", "0 recovered  1 failures", "60 failing (60 failures)", "60 recovered 60 failures",
                "120 failing (60 failures)", "120 recovered 60 failures",
            ])
    }

    @Test("an upload that ends since its block was zeroed says nothing about the store")
    func abandoned() throws {
        let isDown = Shared(false)
        let fetches = BlockGate { $0.verb == .read && $0.phase == .arrived }
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            try await fetches.pass(call)
            if isDown.withLock({ $0 }), call.verb == .write || call.verb == .zero {
                throw BlockStoreError(.unreachable, "planned outage")
            }
        }
        try CacheFixture.run(.test(slots: 4) { $0.writeDelay = .zero }, hook: hook) { fixture in
            try await fixture.store(7, in: 5)
            isDown.withLock { $0 = true }
            try await fixture.write(1, of: 0)
            try await fixture.write(1, at: 0..<32, of: 5)
            await fetches.waitUntilHeld(1)
            try await fixture.pass(.seconds(5))
            #expect(fixture.log.lines.count { $0.contains("planned outage") } == 1)
            try await fixture.cache.zero(BlockSet(blocks: [BlockNumber(5)]), .foreground)
            fetches.open()
            try await fixture.pass(.seconds(5))
            #expect(!fixture.log.lines.contains { $0.contains("takes blocks again") }, "\(fixture.log.lines)")
        }
    }

    @Test("a volume that is no longer ours is not tried again, in the log")
    func fenced() {
        for code in BlockStoreError.Code.allCases {
            var log = FailureLog()
            guard case .failing(let line)? = log.note(BlockStoreError(code, "x"), doing: "write", unsaved: 3, now: .zero) else {
                Issue.record("\(code) is not told")
                continue
            }
            #expect(line.contains("3 blocks") && line.contains("trying again") == (code != .fenced))
        }
    }

    @Test("blocks that wait to be zeroed count among those that the store does not have")
    func pendingZeros() throws {
        let hook: MemoryBlockStore.Hook = { call async throws(BlockStoreError) in
            if call.verb == .zero { throw BlockStoreError(.unreachable, "planned outage") }
        }
        try CacheFixture.run(.test(slots: 4), blockCount: 1024, hook: hook) { fixture in
            try await fixture.cache.zero(BlockSet(BlockNumber(0)..<BlockNumber(500)), .foreground)
            try await fixture.pass(.seconds(5))
            #expect(fixture.log.lines.contains { $0.contains("500 blocks are not in the store yet") }, "\(fixture.log.lines)")
        }
    }
}
