// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import BlockStores

@Suite("ZeroMap and surveys") struct ZeroMapSurveyTests {
    private func range(_ lower: Int, _ upper: Int) -> BlockRange { BlockNumber(lower)..<BlockNumber(upper) }

    private func page(_ covered: BlockRange, present: [Int] = [], unclear: [Int] = []) -> SurveyPage {
        SurveyPage(
            covered: covered, present: present.map { SurveyPage.Block(BlockNumber($0), .unknown) },
            unclear: unclear.map { BlockNumber($0) })
    }

    private func zeros(_ map: ZeroMap.StateMachine, below count: Int) -> [Int] {
        (0..<count).filter { map.isZero(BlockNumber($0)) }
    }

    private func begin(_ map: inout ZeroMap.StateMachine, _ block: Int, writesZeros: Bool = false) {
        let hasBegun = map.beginWrite(to: BlockNumber(block), writesZeros: writesZeros)
        #expect(hasBegun)
    }

    @Test("what a page covers and no page names is zero, at once; the rest is not known")
    func learns() {
        var map = ZeroMap.StateMachine(blockCount: 10)
        map.beginSurvey()
        map.learn(page(range(0, 4), present: [1, 5], unclear: [2]))
        #expect(zeros(map, below: 10) == [0, 3])
        map.learn(page(range(4, 8), present: [7]))
        #expect(zeros(map, below: 10) == [0, 3, 4, 6])
        #expect(!map.isIdle)
        map.endSurvey()
        #expect(map.isIdle && zeros(map, below: 10) == [0, 3, 4, 6])
    }

    @Test("pages that cover nothing keep what they name for the one that does")
    func coversLate() {
        var map = ZeroMap.StateMachine(blockCount: 10)
        map.beginSurvey()
        map.learn(page(range(0, 0), present: [7, 2]))
        map.learn(page(range(0, 0), present: [0]))
        #expect(zeros(map, below: 10) == [])
        map.learn(page(range(0, 10)))
        #expect(zeros(map, below: 10) == [1, 3, 4, 5, 6, 8, 9])
    }

    @Test("a block that is written at any moment of a survey is not learnt from it")
    func excludesWrites() {
        var map = ZeroMap.StateMachine(blockCount: 8)
        begin(&map, 0)
        begin(&map, 1)
        map.beginSurvey()
        begin(&map, 2)
        map.endWrite(to: BlockNumber(2), .data)
        map.endWrite(to: BlockNumber(1), .data)
        begin(&map, 3)
        map.learn(page(range(0, 8)))
        #expect(zeros(map, below: 8) == [4, 5, 6, 7])
        map.endWrite(to: BlockNumber(0), .data)
        map.endWrite(to: BlockNumber(3), .data)
        begin(&map, 4)
        map.learn(page(range(0, 8)))
        #expect(zeros(map, below: 8) == [5, 6, 7])
        map.endWrite(to: BlockNumber(4), .zero)
        map.endSurvey()
        #expect(map.isIdle && zeros(map, below: 8) == [4, 5, 6, 7])
    }

    @Test("a set that is zeroed beside a survey is learnt from its own outcome only", arguments: [true, false])
    func excludesZeroing(succeeds: Bool) throws {
        var map = ZeroMap.StateMachine(blockCount: 8)
        let early = map.beginZero(BlockSet(range(0, 2)))
        map.beginSurvey()
        let late = map.beginZero(BlockSet(range(2, 4)))
        map.learn(page(range(0, 8)))
        #expect(zeros(map, below: 8) == [4, 5, 6, 7])
        map.endZero(try #require(early).number, succeeded: succeeds)
        map.endZero(try #require(late).number, succeeded: succeeds)
        map.learn(page(range(0, 8)))
        map.endSurvey()
        #expect(zeros(map, below: 8) == Array((succeeds ? 0 : 4)..<8))
    }

    @Test("a block in doubt is not learnt from a survey, even if its mutation failed before")
    func excludesDoubt() {
        var map = ZeroMap.StateMachine(blockCount: 4)
        begin(&map, 1)
        map.endWrite(to: BlockNumber(1), .failed)
        map.beginSurvey()
        map.learn(page(range(0, 4)))
        map.endSurvey()
        #expect(zeros(map, below: 4) == [0, 2, 3])
        begin(&map, 1)
        map.endWrite(to: BlockNumber(1), .data)
        map.beginSurvey()
        map.learn(page(range(0, 4)))
        map.endSurvey()
        #expect(zeros(map, below: 4) == [0, 1, 2, 3])
    }

    @Test("the blocks of a large disk are learnt without looking at each")
    func isCheap() {
        var map = ZeroMap.StateMachine(blockCount: 1 << 32 - 1)
        map.beginSurvey()
        map.learn(page(range(0, 1 << 32 - 1), present: [5, 1 << 31]))
        map.endSurvey()
        #expect(map.statistics.size == 1 << 32 - 3)
        #expect(!map.isZero(BlockNumber(5)) && !map.isZero(BlockNumber(1 << 31)) && map.isZero(BlockNumber(6)))
    }

    @Test("what a survey taught is read, and zeroed, without a call below")
    func isUsed() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 8), answersNow: false, hook: nil)
        let map = ZeroMap(over: memory)
        map.surveyBegan()
        map.surveyAnswered(page(range(0, 4), present: [1]))
        #expect(map.readNow(BlockNumber(0))?.isAllZeros == true && map.readNow(BlockNumber(1)) == nil)
        try await map.zero(BlockSet(range(2, 4)), .foreground)
        map.surveyEnded()
        #expect(memory.counts.reads == 0 && memory.counts.zeros == 0)
        #expect(map.statistics == ZeroMapStatistics(size: 3, readHits: 1, writeHits: 2))
    }
}
