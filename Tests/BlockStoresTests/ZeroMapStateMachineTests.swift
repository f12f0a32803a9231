// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import BlockStores

@Suite("ZeroMap's state machine") struct ZeroMapStateMachineTests {
    private let block = BlockNumber(0)
    private var both: BlockSet { BlockSet(BlockNumber(0)..<BlockNumber(2)) }

    private func begin(_ map: inout ZeroMap.StateMachine, _ block: BlockNumber, writesZeros: Bool) {
        let hasBegun = map.beginWrite(to: block, writesZeros: writesZeros)
        #expect(hasBegun)
    }

    @Test("a read that found zeros, undisturbed, is believed")
    func learnsFromRead() {
        var map = ZeroMap.StateMachine(blockCount: 2)
        let ticket = map.beginRead(of: block)
        map.endRead(of: block, ticket, foundZero: true)
        let isHit = map.answersRead(of: block)
        #expect(isHit && map.isIdle)
        #expect(map.statistics == ZeroMapStatistics(size: 1, readHits: 1, writeHits: 0))
    }

    @Test("a read that found no object before a write began is not believed after the write ended")
    func readBeforeWrite() {
        var map = ZeroMap.StateMachine(blockCount: 2)
        let ticket = map.beginRead(of: block)
        begin(&map, block, writesZeros: false)
        map.endWrite(to: block, .data)
        map.endRead(of: block, ticket, foundZero: true)
        #expect(!map.isZero(block) && map.isIdle)
    }

    @Test("a read that began while a write ran is not believed")
    func readDuringWrite() {
        var map = ZeroMap.StateMachine(blockCount: 2)
        begin(&map, block, writesZeros: false)
        let ticket = map.beginRead(of: block)
        map.endWrite(to: block, .data)
        map.endRead(of: block, ticket, foundZero: true)
        #expect(!map.isZero(block) && map.isIdle)
    }

    @Test("a read begun after a write is believed though an older read is still out")
    func newCohort() {
        var map = ZeroMap.StateMachine(blockCount: 2)
        let old = map.beginRead(of: block)
        begin(&map, block, writesZeros: false)
        map.endWrite(to: block, .data)
        let new = map.beginRead(of: block)
        map.endRead(of: block, old, foundZero: true)
        #expect(!map.isZero(block))
        map.endRead(of: block, new, foundZero: true)
        #expect(map.isZero(block) && map.isIdle)
    }

    @Test("a mutation of another block disturbs nothing")
    func otherBlock() {
        var map = ZeroMap.StateMachine(blockCount: 2)
        let ticket = map.beginRead(of: block)
        begin(&map, BlockNumber(1), writesZeros: false)
        map.endRead(of: block, ticket, foundZero: true)
        #expect(map.isZero(block))
    }

    @Test("knowledge is dropped before a write goes down, and a failed write leaves the block unknown")
    func failedWrite() {
        var map = ZeroMap.StateMachine(blockCount: 2)
        begin(&map, block, writesZeros: true)
        map.endWrite(to: block, .zero)
        #expect(map.isZero(block))
        begin(&map, block, writesZeros: false)
        #expect(!map.isZero(block))
        map.endWrite(to: block, .failed)
        #expect(!map.isZero(block))
    }

    @Test("after a failed mutation no read is believed until a mutation succeeds")
    func doubt() {
        for doubtEnds in [ZeroMap.StateMachine.Outcome.zero, .data] {
            var map = ZeroMap.StateMachine(blockCount: 2)
            begin(&map, block, writesZeros: false)
            map.endWrite(to: block, .failed)
            var ticket = map.beginRead(of: block)
            map.endRead(of: block, ticket, foundZero: true)
            #expect(!map.isZero(block))
            begin(&map, block, writesZeros: false)
            map.endWrite(to: block, doubtEnds)
            ticket = map.beginRead(of: block)
            map.endRead(of: block, ticket, foundZero: true)
            #expect(map.isZero(block))
        }
    }

    @Test("zeros over a known zero begin nothing and count as a hit")
    func writeHits() throws {
        var map = ZeroMap.StateMachine(blockCount: 2)
        let begun = map.beginZero(both)
        let (unknown, number) = try #require(begun)
        #expect(unknown == both)
        map.endZero(number, succeeded: true)
        let hasBegun = map.beginWrite(to: block, writesZeros: true)
        #expect(!hasBegun)
        let nothing = map.beginZero(both)
        #expect(nothing == nil)
        #expect(map.isIdle)
        #expect(map.statistics == ZeroMapStatistics(size: 2, readHits: 0, writeHits: 3))
        map.resetStatistics()
        #expect(map.statistics == ZeroMapStatistics(size: 2, readHits: 0, writeHits: 0))
    }

    @Test("of a set only the blocks not known to be zero go down")
    func filtersSet() throws {
        var map = ZeroMap.StateMachine(blockCount: 4)
        begin(&map, BlockNumber(1), writesZeros: true)
        map.endWrite(to: BlockNumber(1), .zero)
        let begun = map.beginZero(BlockSet(BlockNumber(0)..<BlockNumber(4)))
        let (unknown, number) = try #require(begun)
        #expect(unknown == BlockSet(blocks: [0, 2, 3].map { BlockNumber($0) }))
        map.endZero(number, succeeded: false)
        #expect(map.statistics == ZeroMapStatistics(size: 1, readHits: 0, writeHits: 1))
    }

    @Test("a read beside zeroing of its block is not believed, and the zeroing is")
    func readBesideZero() throws {
        var map = ZeroMap.StateMachine(blockCount: 2)
        let before = map.beginRead(of: block)
        let begun = map.beginZero(both)
        let (_, number) = try #require(begun)
        let beside = map.beginRead(of: block)
        map.endRead(of: block, before, foundZero: true)
        map.endRead(of: block, beside, foundZero: true)
        #expect(!map.isZero(block))
        map.endZero(number, succeeded: true)
        #expect(map.isZero(block) && map.isIdle)
    }

    @Test("mutations of one block that overlap against the rule teach nothing", arguments: [true, false])
    func overlap(zeroEndsFirst: Bool) throws {
        var map = ZeroMap.StateMachine(blockCount: 2)
        let begun = map.beginZero(both)
        let (_, number) = try #require(begun)
        begin(&map, block, writesZeros: false)
        if zeroEndsFirst { map.endZero(number, succeeded: true) }
        map.endWrite(to: block, .data)
        if !zeroEndsFirst { map.endZero(number, succeeded: true) }
        #expect(!map.isZero(block) && map.isZero(BlockNumber(1)) && map.isIdle)
    }

    @Test(
        "in every order of two reads and two mutations of one block, what is called zero is zero",
        arguments: [true, false], [true, false])
    func everyOrder(startsAsZero: Bool, isSerial: Bool) {
        var explorer = ZeroMapExplorer(isSerial: isSerial)
        explorer.explore(ZeroMapWorld(startsAsZero: startsAsZero, readCount: 2, hasSurvey: false))
        #expect(explorer.violation == nil)
        #expect(explorer.endCount > 10_000 && explorer.endsKnownZeroCount > 1000)
    }

    @Test(
        "in every order of a survey of two pages and two mutations of one block, what is called zero is zero",
        arguments: [true, false], [true, false])
    func everyOrderWithSurvey(startsAsZero: Bool, isSerial: Bool) {
        var explorer = ZeroMapExplorer(isSerial: isSerial)
        explorer.explore(ZeroMapWorld(startsAsZero: startsAsZero, readCount: 0, hasSurvey: true))
        #expect(explorer.violation == nil)
        #expect(explorer.endCount > 10_000 && explorer.endsKnownZeroCount > 1000)
    }
}
