// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Testing

@testable import BlockStores

/// What the cache may believe of a block, and when a slot is free.
@Suite("What the block cache's state machine believes") struct CacheStateMachineKnowledgeTests {
    private func read(_ bench: inout CacheBench, _ block: Int, _ sectors: Range<Int>) -> CacheStateMachine.ReadStep {
        bench.machine.beginRead(of: BlockNumber(block), sectors, waits: false, now: bench.now, isZeroBelow: { false })
    }

    private func fill(_ bench: inout CacheBench, _ block: Int) -> CacheStateMachine.FillStep {
        bench.machine.beginFill(of: BlockNumber(block), .bytes, ticket: nil, now: bench.now).step
    }

    @Test("a fetch that was sent before a zeroing went down is not kept")
    func fetchBeforeZeroing() {
        var bench = CacheBench()
        let isNew = bench.machine.readAhead(BlockNumber(1)..<BlockNumber(2), isZeroBelow: { _ in false })
        #expect(isNew)
        bench.zero(1)
        #expect(bench.job() == "fetch 1")
        bench.now += .milliseconds(100)
        #expect(bench.job() == "zero 1")
        _ = bench.endZero()
        guard case .startOver = fill(&bench, 1) else { Issue.record("the answer is older than the zeroing"); return }
        #expect(bench.machine.fetches.isEmpty && bench.machine.slot(of: BlockNumber(1)) == nil)
    }

    @Test("a fetch that an upload has passed is not kept")
    func fetchBesideUpload() {
        var bench = CacheBench()
        _ = bench.machine.joinFetch(of: BlockNumber(1), isForeground: true)
        #expect(bench.job() == "fetch 1")
        bench.write(1, 0..<4)
        bench.save(1)
        bench.machine.evict(CacheSlot(rawValue: 0))
        guard case .startOver = fill(&bench, 1) else { Issue.record("the answer is older than the upload"); return }
    }

    @Test("a block that was evicted after its upload is no hole, though the store below was asked before")
    func evictedIsData() {
        var bench = CacheBench()
        bench.write(1, 0..<4)
        let number = bench.machine.beginExtents()
        bench.save(1)
        bench.machine.evict(CacheSlot(rawValue: 0))
        var below: [BlockExtent] = []
        below.append(BlockNumber(0)..<BlockNumber(3), .zero)
        let extents = bench.machine.endExtents(number, below: below)
        #expect(extents.map(\.kind) == [.zero, .data, .zero])
    }

    @Test("a write to a part of an unverified block is dirty at once; its other sectors are compared before they are used")
    func unverified() {
        var bench = CacheBench()
        let restored = RestoredBlock(
            block: BlockNumber(1), slot: CacheSlot(rawValue: 0), valid: [0b1111], dirty: [0], isZeroElsewhere: false)
        bench.machine.restore([restored], zeros: BlockSet(), isVerified: false, now: .zero)
        bench.write(1, 0..<1)
        guard case .copy(let copy, isGranted: true, _) = read(&bench, 1, 0..<1) else { Issue.record("written"); return }
        _ = bench.machine.endCopy(copy)
        guard case .miss = read(&bench, 1, 0..<2) else { Issue.record("sector 1 was not compared"); return }
        bench.now += .milliseconds(100)
        #expect(bench.job() == "upload 1")
        guard case .needsBytes = bench.machine.prepareUpload(of: BlockNumber(1)) else { Issue.record("not compared"); return }
        let isFetcher = bench.machine.startFetch(of: BlockNumber(1))
        #expect(isFetcher && bench.machine.slotToVerify(BlockNumber(1)) != nil)
        guard case (.startOver, _) = bench.machine.beginFill(of: BlockNumber(1), .unchanged, ticket: nil, now: bench.now) else {
            Issue.record("there is nothing to fill")
            return
        }
        bench.send(1)
        #expect(bench.end(1) == [] && bench.machine.dirtyCount == 0)
    }

    @Test("a write to a part of a sector of a zeroed block needs no bytes, though the store may have old ones")
    func edgeOnZeroInDoubt() {
        var bench = CacheBench()
        let begin = { (bench: inout CacheBench) in
            bench.machine.beginWrite(to: BlockNumber(1), 1..<2, edges: [1], isZeros: false, waits: true, isZeroBelow: { false })
        }
        guard case .needsBytes = begin(&bench) else { Issue.record("nothing is known of the block"); return }
        bench.zero(1)
        bench.now += .milliseconds(100)
        #expect(bench.job() == "zero 1")
        _ = bench.endZero(.failed(isPermanent: false))
        guard case .copy(let ticket, isGranted: true, isNewTenant: true) = begin(&bench) else { Issue.record("zeros"); return }
        #expect(bench.machine.heldEdges(ticket, [1]) == [], "the rest of the sector is zeros, not bytes")
        _ = bench.machine.endWrite(ticket, to: BlockNumber(1), 1..<2, succeeded: true, now: bench.now)
        guard case .zero = read(&bench, 1, 2..<4) else { Issue.record("the other sectors are zeros"); return }
    }

    @Test("a slot that held dirty bytes is free only after a commit that began after its release")
    func quarantine() {
        var bench = CacheBench(slotCount: 1, dirtyMax: 1, isPersistent: true)
        bench.write(1, 0..<4)
        let early = bench.machine.beginCommit()
        bench.zero(1)
        bench.machine.endCommit(early, succeeded: true)
        #expect(!bench.machine.hasRoom)
        #expect(bench.job() == "commit", "nothing else would bring one for sure")
        #expect(bench.job() == nil, "one is enough")
        bench.endCommits(succeeded: false)
        #expect(!bench.machine.hasRoom)
        #expect(bench.job() == "commit")
        bench.endCommits(succeeded: true)
        #expect(bench.machine.hasRoom)
    }

    @Test("a block that was uploaded is not evicted before a commit that began after the upload")
    func settled() {
        var bench = CacheBench(slotCount: 1, dirtyMax: 1, isPersistent: true)
        bench.write(1, 0..<4)
        let early = bench.machine.beginCommit()
        bench.save(1)
        bench.machine.endCommit(early, succeeded: true)
        #expect(!bench.machine.hasRoom)
        #expect(bench.job() == "commit")
        bench.endCommits(succeeded: true)
        #expect(bench.machine.hasRoom)
    }

    @Test("a block is not evicted while it is being copied")
    func copiedStays() {
        var bench = CacheBench(slotCount: 1, dirtyMax: 1)
        bench.write(1, 0..<4)
        bench.save(1)
        guard case .copy(let copy, isGranted: true, _) = read(&bench, 1, 0..<1) else { Issue.record("held"); return }
        #expect(!bench.machine.hasRoom && bench.machine.allocate(for: BlockNumber(2)) == nil)
        _ = bench.machine.endCopy(copy)
        #expect(bench.machine.hasRoom)
    }

    @Test("what waits to be read ahead is bounded")
    func aheadIsBounded() {
        var bench = CacheBench(slotCount: 1, dirtyMax: 1)
        bench.write(0, 0..<1)
        _ = bench.machine.readAhead(BlockNumber(1)..<BlockNumber(50_000), isZeroBelow: { _ in false })
        #expect(bench.machine.fetches.count == CacheStateMachine.aheadQueueMax)
    }

    @Test("over a persistent storage a block gets no slot, and is not zeroed in the store, before its older slot is released")
    func oneSlotOfABlock() {
        var bench = CacheBench(isPersistent: true)
        let begin = { (bench: inout CacheBench) in
            bench.machine.beginWrite(to: BlockNumber(1), 0..<1, edges: [], isZeros: false, waits: true, isZeroBelow: { false })
        }
        guard case .copy(let ticket, isGranted: true, _) = begin(&bench) else { Issue.record("there is room"); return }
        bench.zero(1)
        bench.now += .milliseconds(100)
        #expect(bench.job() == nil, "the storage must not forget the zeroing yet")
        guard case .unreleased = begin(&bench) else { Issue.record("the older slot is not released"); return }
        let end = bench.machine.endWrite(ticket, to: BlockNumber(1), 0..<1, succeeded: true, now: bench.now)
        guard let release = end.release else { Issue.record("nobody copies any more"); return }
        #expect(bench.machine.releaseFailed(release, now: bench.now).isEmpty)
        #expect(bench.job() == nil)
        bench.now += .seconds(1)
        let again = bench.machine.expire(now: bench.now)
        #expect(again.map(\.slot) == [release.slot], "the storage is told again")
        bench.machine.released(release)
        #expect(bench.job() == "zero 1")
        guard case .copy = begin(&bench) else { Issue.record("the older slot is released"); return }
    }

    @Test("a clean block that is used still waits for its commit, and may be evicted afterwards")
    func unsettled() {
        var bench = CacheBench(isPersistent: true)
        for block in 1...3 {
            bench.write(block, 0..<4)
            bench.save(block)
        }
        bench.write(4, 0..<4)
        guard case .copy(let copy, isGranted: true, _) = read(&bench, 1, 0..<1) else { Issue.record("held"); return }
        _ = bench.machine.endCopy(copy)
        #expect(!bench.machine.hasRoom && bench.machine.lists.count(of: .unsettled) == 3)
        #expect(bench.job() == "commit")
        bench.endCommits(succeeded: true)
        #expect(bench.machine.hasRoom && bench.machine.lists.count(of: .clean) == 3)
    }
}
