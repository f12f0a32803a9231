// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Testing

@testable import BlockStores

/// A cache of four blocks of four sectors, with the calls of its shell in one piece each.
struct CacheBench {
    var machine: CacheStateMachine
    var now = Duration.zero

    init(slotCount: Int = 4, dirtyMax: Int = 4, aheadMax: Int = 4, isPersistent: Bool = false) {
        machine = CacheStateMachine(
            CacheStateMachine.Limits(
                blockCount: 100_000, sectorsPerBlock: 4, slotCount: slotCount, dirtyMax: dirtyMax, protectedCount: 0,
                uploadsMax: 4,
                aheadMax: aheadMax, writeDelay: .milliseconds(100), keptFor: nil, failurePause: .seconds(1),
                isPersistent: isPersistent))
    }

    /// Writes whole sectors.
    mutating func write(_ block: Int, _ sectors: Range<Int>) {
        let step = machine.beginWrite(
            to: BlockNumber(block), sectors, edges: [], isZeros: false, waits: true, isZeroBelow: { false })
        guard case .copy(let ticket, isGranted: true, _) = step else {
            Issue.record("the write to block \(block) cannot begin: \(step)")
            return
        }
        let end = machine.endWrite(ticket, to: BlockNumber(block), sectors, succeeded: true, now: now)
        #expect(end.release == nil)
    }

    /// Zeroes blocks, and lets the storage record it.
    mutating func zero(_ blocks: Int...) {
        let start = machine.beginZero(BlockSet(blocks: blocks.map { BlockNumber($0) }), now: now)
        for release in start.releases { machine.released(release) }
    }

    /// The next job, as a word: "upload 1", "zero 1 2", "fetch 1".
    mutating func job() -> String? {
        switch machine.takeJob(now: now) {
        case .upload(let block)?: "upload \(block.rawValue)"
        case .fetch(let block)?: "fetch \(block.rawValue)"
        case .zero(_, let blocks)?: "zero \(blocks.blocks.map { String($0.rawValue) }.joined(separator: " "))"
        case .commit?: "commit"
        case nil: nil
        }
    }

    /// Takes the snapshot of an upload that has begun, and sends it.
    mutating func send(_ block: Int) {
        guard case .copy(let ticket, isGranted: true) = machine.prepareUpload(of: BlockNumber(block)) else {
            Issue.record("the upload of block \(block) lacks bytes")
            return
        }
        let holes = machine.takeSnapshot(of: BlockNumber(block), ticket)
        #expect(holes != nil)
        _ = machine.endCopy(ticket)
        let isSent = machine.beginMutation(of: BlockNumber(block))
        #expect(isSent)
    }

    /// Ends an upload.
    ///
    /// - Returns: The flushes that end by it.
    mutating func end(_ block: Int, _ outcome: CacheStateMachine.MutationOutcome = .done) -> [UInt64] {
        machine.endUpload(of: BlockNumber(block), outcome, now: now).flushes.map(\.number)
    }

    /// Ends the only zeroing in flight.
    mutating func endZero(_ outcome: CacheStateMachine.MutationOutcome = .done) -> [UInt64] {
        machine.endZero(machine.zeroFlights[0].number, outcome, now: now).flushes.map(\.number)
    }

    /// Ends the commits that run.
    mutating func endCommits(succeeded: Bool) {
        for number in machine.commits.keys { machine.endCommit(number, succeeded: succeeded) }
    }

    /// Makes a block clean by an upload.
    mutating func save(_ block: Int) {
        now += .milliseconds(100)
        let taken = job()
        #expect(taken == "upload \(block)")
        send(block)
        _ = end(block)
    }
}

@Suite("The block cache's state machine") struct CacheStateMachineTests {
    @Test("a flush waits for a block that is being uploaded, and for what was written behind the upload")
    func flushDuringUpload() {
        var bench = CacheBench()
        bench.write(1, 0..<4)
        bench.now += .milliseconds(100)
        #expect(bench.job() == "upload 1")
        bench.send(1)
        bench.write(1, 0..<1)
        let flush = bench.machine.beginFlush(.everything, deadline: nil)
        #expect(flush != nil)
        #expect(bench.end(1) == [], "the second write is not in the store")
        #expect(bench.job() == "upload 1", "at once, for the flush")
        bench.send(1)
        #expect(bench.end(1) == [flush])
    }

    @Test("a flush does not wait for what is written after it began", arguments: [true, false])
    func flushIsBounded(isOfBlock: Bool) {
        var bench = CacheBench()
        bench.write(1, 0..<4)
        bench.now += .milliseconds(100)
        #expect(bench.job() == "upload 1")
        bench.send(1)
        let scope = isOfBlock ? FlushScope.blocks(BlockSet(blocks: [BlockNumber(1)])) : .everything
        let flush = bench.machine.beginFlush(scope, deadline: nil)
        bench.write(1, 0..<1)
        bench.write(2, 0..<4)
        #expect(bench.end(1) == [flush])
        #expect(bench.machine.dirtyCount == 2)
    }

    @Test("a write over a pending zeroing inherits its epoch: a flush that waits for the zeroing waits for the write")
    func supersede() {
        var bench = CacheBench()
        bench.zero(1, 2)
        let flush = bench.machine.beginFlush(.everything, deadline: nil)
        #expect(flush != nil)
        bench.write(1, 0..<1)
        #expect(bench.job() == "zero 2")
        #expect(bench.endZero() == [])
        #expect(bench.job() == "upload 1", "it is as due as the zeroing was")
        bench.send(1)
        #expect(bench.end(1) == [flush])
        #expect(bench.machine.pendingZeros.count == 0 && bench.machine.outstanding.isEmpty)
    }

    @Test("a write over a zeroing that is in flight waits for its outcome, and inherits its epoch")
    func supersedeInFlight() {
        var bench = CacheBench()
        bench.zero(1)
        let flush = bench.machine.beginFlush(.everything, deadline: nil)
        #expect(bench.job() == "zero 1")
        bench.write(1, 0..<1)
        #expect(bench.job() == nil)
        #expect(bench.endZero(.failed(isPermanent: false)) == [])
        #expect(bench.machine.zeroBatches.isEmpty, "nobody wants it any more")
        #expect(bench.job() == "upload 1")
        bench.send(1)
        #expect(bench.end(1) == [flush])
    }

    @Test("a zeroing inherits the epoch of the dirty block that it replaces")
    func zeroInherits() {
        var bench = CacheBench()
        bench.write(1, 0..<4)
        let flush = bench.machine.beginFlush(.blocks(BlockSet(blocks: [BlockNumber(1)])), deadline: nil)
        bench.zero(1)
        #expect(bench.machine.dirtyCount == 0)
        #expect(bench.job() == "zero 1")
        #expect(bench.endZero() == [flush])
    }

    @Test("a trim of an uploading block waits for the upload's outcome, and wins", arguments: [true, false])
    func trimDuringUpload(succeeds: Bool) {
        var bench = CacheBench()
        bench.write(1, 0..<4)
        bench.now += .milliseconds(100)
        #expect(bench.job() == "upload 1")
        bench.send(1)
        bench.zero(1)
        bench.now += .milliseconds(100)
        #expect(bench.job() == nil, "it does not overtake")
        _ = bench.end(1, succeeds ? .done : .failed(isPermanent: false))
        #expect(bench.machine.slot(of: BlockNumber(1)) == nil)
        #expect(bench.job() == "zero 1")
        _ = bench.endZero()
        #expect(bench.machine.outstanding.isEmpty && bench.machine.freeSlots.count == 1)
    }

    @Test("a failed upload makes dirty again what it took along, next to what was written behind it, and pauses")
    func failedUpload() throws {
        var bench = CacheBench()
        bench.write(1, 0..<3)
        bench.write(1, 3..<4)
        bench.now += .milliseconds(100)
        #expect(bench.job() == "upload 1")
        bench.send(1)
        bench.write(1, 1..<2)
        let slot = try #require(bench.machine.slot(of: BlockNumber(1)))
        #expect(bench.machine.dirty.words(of: slot) == [0b0010])
        _ = bench.end(1, .failed(isPermanent: false))
        #expect(bench.machine.dirty.words(of: slot) == [0b1111])
        #expect(bench.machine.outstanding.map(\.count) == [1])
        #expect(bench.job() == nil)
        bench.now += .seconds(1)
        #expect(bench.job() == "upload 1")
    }

    @Test("a permanent failure ends the flushes that wait for the block, and no others")
    func permanentFailure() {
        var bench = CacheBench()
        bench.write(1, 0..<4)
        bench.write(2, 0..<4)
        let all = bench.machine.beginFlush(.everything, deadline: nil)
        let one = bench.machine.beginFlush(.blocks(BlockSet(blocks: [BlockNumber(1)])), deadline: nil)
        let other = bench.machine.beginFlush(.blocks(BlockSet(blocks: [BlockNumber(2)])), deadline: nil)
        #expect(bench.job() == "upload 1")
        bench.send(1)
        #expect(bench.end(1, .failed(isPermanent: true)) == [all, one])
        #expect(bench.machine.flushes.map(\.number) == [other])
        #expect(bench.machine.dirtyCount == 1 + 1, "what was not saved stays dirty")
    }

    @Test("with as many dirty blocks as may be, further writers wait until an upload has succeeded")
    func backPressure() {
        var bench = CacheBench(dirtyMax: 2)
        bench.write(1, 0..<4)
        bench.write(2, 0..<4)
        let begin = { (bench: inout CacheBench) in
            bench.machine.beginWrite(to: BlockNumber(3), 0..<4, edges: [], isZeros: false, waits: true, isZeroBelow: { false })
        }
        guard case .full = begin(&bench) else { Issue.record("there is no room"); return }
        bench.write(1, 0..<4)
        #expect(bench.job() == "upload 1", "before its time")
        bench.send(1)
        _ = bench.end(1, .failed(isPermanent: false))
        guard case .full = begin(&bench) else { Issue.record("a failure makes no room"); return }
        #expect(bench.job() == "upload 2")
        bench.send(2)
        _ = bench.end(2)
        guard case .copy = begin(&bench) else { Issue.record("there is room"); return }
    }

    @Test("a zeroing that failed is repeated after a pause, without the blocks that were written since")
    func failedZeroing() {
        var bench = CacheBench()
        bench.zero(1, 2)
        bench.now += .milliseconds(100)
        #expect(bench.job() == "zero 1 2")
        bench.write(1, 0..<1)
        _ = bench.endZero(.failed(isPermanent: false))
        bench.now += .milliseconds(100)
        #expect(bench.job() == "upload 1")
        guard case .copy(let ticket, _) = bench.machine.prepareUpload(of: BlockNumber(1)) else { Issue.record("bytes"); return }
        #expect(bench.machine.takeSnapshot(of: BlockNumber(1), ticket) == [1..<4], "the rest is zeros, whatever the store has")
        bench.now += .seconds(1)
        #expect(bench.job() == "zero 2")
    }

    @Test("a block whose upload failed has its turn beside blocks that a flush wants, however many come")
    func failedHasItsTurn() {
        var bench = CacheBench(slotCount: 40, dirtyMax: 40)
        bench.write(1, 0..<4)
        bench.now += .milliseconds(100)
        #expect(bench.job() == "upload 1")
        bench.send(1)
        _ = bench.end(1, .failed(isPermanent: false))
        bench.now += .seconds(1)
        var jobs: [String?] = []
        for block in 2..<20 {
            bench.write(block, 0..<4)
            _ = bench.machine.beginFlush(.blocks(BlockSet(blocks: [BlockNumber(block)])), deadline: nil)
            let job = bench.job()
            jobs.append(job)
            if job == "upload 1" { break }
            bench.send(block)
            _ = bench.end(block)
        }
        #expect(jobs.last == "upload 1" && jobs.count == 9)
    }
}
