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
