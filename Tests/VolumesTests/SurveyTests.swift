// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Testing

@testable import Volumes

@Suite("Survey")
struct SurveyTests {
    /// So many blocks of a volume, block 0 among them, from a seed.
    private func draw(_ count: Int, of blockCount: Int, seed: UInt64) -> Set<BlockNumber> {
        var generator = SeededGenerator(seed: seed)
        guard count < blockCount else { return Set((0..<blockCount).map { BlockNumber($0) }) }
        var blocks: Set<BlockNumber> = [0]
        while blocks.count < count { blocks.insert(BlockNumber(Int.random(in: 0..<blockCount, using: &generator))) }
        return blocks
    }

    @Test(
        "every name is listed once, whatever the volume's size, and what is not listed is zero",
        arguments: [(1, 1), (64, 5), (4096, 4096), (5000, 1200), (32_768, 3000), (100_000, 2500)], [false, true])
    func listsOnce(volume: (blockCount: Int, objectCount: Int), isHashed: Bool) async throws {
        for spansMax in [1, 16] {
            let fixture = try SurveyFixture(isHashed: isHashed, blockCount: volume.blockCount)
            let blocks = draw(volume.objectCount, of: volume.blockCount, seed: UInt64(spansMax))
            try await fixture.put(blocks.map { fixture.keys.key(of: $0) })
            // Another volume, whose names begin like those of this one, blocks beyond the end, and what is no block at all.
            let other = BlockKeyScheme(prefix: "vm10", isHashed: isHashed)
            try await fixture.put((0..<40).map { other.key(of: BlockNumber($0)) })
            try await fixture.put([fixture.keys.key(of: BlockNumber(volume.blockCount)), fixture.keys.mountTokenKey])
            try await fixture.put(["vm1", "vm1+", "vm1zz", "vm10000000g", "vm1000", "vm0"].map { ObjectKey($0) })
            try fixture.run(spansMax)
            let listed = fixture.store.pages.flatMap(\.keys)
            #expect(Set(listed).count == listed.count, "\(spansMax) spans: a name was listed twice")
            #expect(fixture.recorder.present.map(\.number).sorted() == blocks.sorted(), "\(spansMax) spans")
            #expect(fixture.zeros == BlockSet(blocks: fixture.geometry.allBlocks.filter { !blocks.contains($0) }))
            // Too few to be worth a division.
            #expect(fixture.store.pages.count <= listed.count / 1000 + 1, "for \(listed.count) names")
            #expect(fixture.store.inFlightMost <= spansMax && fixture.store.foregroundCount == 0)
        }
    }

    @Test("an empty volume costs one request, and a small one too", arguments: [false, true])
    func isFrugal(isHashed: Bool) async throws {
        for objectCount in [0, 900] {
            let fixture = try SurveyFixture(isHashed: isHashed, blockCount: 1_000_000)
            try await fixture.put(draw(objectCount, of: 1_000_000, seed: 1).prefix(objectCount).map { fixture.keys.key(of: $0) })
            try fixture.run()
            #expect(fixture.store.pages.count == 1)
            #expect(fixture.map.statistics.size == UInt64(1_000_000 - objectCount))
        }
    }

    /// Pages of a tenth, of a volume of a tenth.
    @Test("a full volume is listed by as many requests at once as is said, and in a fraction of the time")
    func isParallel() async throws {
        let fixture = try SurveyFixture(blockCount: 65_536, pageMax: 100)
        try await fixture.put((0..<6554).map { fixture.keys.key(of: BlockNumber($0 * 10)) })
        try fixture.run(16)
        #expect(fixture.store.inFlightMost == 16)
        #expect(fixture.store.pages.count <= 66 + 16)
        #expect(fixture.timeline.now <= .seconds(8))
        #expect(fixture.map.statistics.size == 65_536 - 6554)
    }

    @Test("what a page shows to be zero is known before the survey ends, where names are numbers")
    func isUsableEarly() throws {
        let fixture = try SurveyFixture(blockCount: 10_000, pageMax: 2)
        let survey = fixture.survey(1)
        try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 10_000) {
            try await fixture.put([10, 20, 30].map { fixture.keys.key(of: $0) })
            await withTaskGroup { group in
                group.addTask { await survey.run() }
                do { try await fixture.timeline.sleep(until: .milliseconds(1500)) } catch { Issue.record(error) }
                #expect(fixture.map.readNow(15) != nil && fixture.map.readNow(20) == nil && fixture.map.readNow(21) == nil)
            }
            #expect(fixture.map.readNow(21) != nil && fixture.map.readNow(30) == nil)
        }
        #expect(fixture.recorder.calls == ["began", "page", "page", "ended"])
    }

    @Test("a listed version is that of a read, but for block 0 and blocks that are watched")
    func versions() async throws {
        let scripted = ScriptedObjectStore()
        let fixture = try SurveyFixture(blockCount: 64) { _, _ in scripted }
        for block in [0, 3, 5] as [BlockNumber] {
            if block == 5 { scripted.on { $0.hasPrefix("PUT") ? .unsettled : .done } }
            _ = try await fixture.map.write(.filled(UInt8(block.rawValue) + 1, count: 512), to: block, .foreground)
        }
        scripted.heal()
        // As a late attempt would.
        _ = try await scripted.objects.delete([fixture.keys.key(of: 5)], .background)
        try fixture.run()
        guard case .block(_, let version) = try await fixture.map.read(3, ifNot: nil, .foreground) else {
            return #expect(Bool(false))
        }
        #expect(version != .unknown)
        #expect(fixture.recorder.present == [SurveyPage.Block(0, .unknown), SurveyPage.Block(3, version)])
        #expect(fixture.recorder.pages.map(\.unclear) == [[5]])
        #expect(fixture.map.readNow(5) == nil && fixture.map.readNow(4) != nil)
    }

    @Test("a block whose watch ends while a page is under way is not learnt from that page")
    func watchEnds() async throws {
        let scripted = ScriptedObjectStore()
        let fixture = try SurveyFixture(blockCount: 64) { _, timeline in ListingStore(over: scripted, timeline: timeline) }
        _ = try await fixture.map.write(.filled(1, count: 512), to: 0, .foreground)
        scripted.on { $0.hasPrefix("PUT") ? .unsettled : .done }
        _ = try await fixture.map.write(.filled(2, count: 512), to: 5, .foreground)
        scripted.heal()
        _ = try await scripted.objects.delete([fixture.keys.key(of: 5)], .background)
        fixture.timeline.advance(by: window + .seconds(1))
        let survey = fixture.survey()
        try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 1000) {
            try await withThrowingTaskGroup { group in
                group.addTask { await survey.run() }
                // The page was made, without the object, and is not here yet.
                try await fixture.timeline.sleep(until: fixture.timeline.now + .milliseconds(700))
                try await fixture.volume.confirmOverdue()
                #expect(fixture.volume.unsettledBlockCount == 0)
                try await group.waitForAll()
            }
        }
        #expect(fixture.map.readNow(5) == nil && fixture.map.statistics.size == 62)
    }

    @Test("pages that fail are asked for again after a pause, and one line says so")
    func asksAgain() async throws {
        let fixture = try SurveyFixture(blockCount: 64)
        try await fixture.put([fixture.keys.key(of: 3)])
        fixture.store.refuse([failure(.timedOut), failure(.slowDown)])
        try fixture.run()
        #expect(fixture.timeline.now >= .seconds(120) && fixture.timeline.now < .seconds(125))
        #expect(
            fixture.log.take() == [
                "info: starting non-zero block survey ",
                "warning: a page of the non-zero block survey failed; it is asked for again until it comes "
                    + "cause=the store says timedOut",
                "info: non-zero block survey completed (1 non-zero blocks reported) ",
            ])
        #expect(fixture.map.statistics.size == 63)
    }

    @Test("a refusal ends the survey with one line; what was learnt stays, and no more is learnt", arguments: [false, true])
    func endsWhenRefused(isHashed: Bool) async throws {
        let fixture = try SurveyFixture(isHashed: isHashed, blockCount: 64, pageMax: 1)
        try await fixture.put([fixture.keys.key(of: 3), fixture.keys.key(of: 5)])
        let survey = fixture.survey()
        try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 1000) {
            await withTaskGroup { group in
                group.addTask { await survey.run() }
                do { try await fixture.timeline.sleep(until: .milliseconds(900)) } catch { Issue.record(error) }
                fixture.store.refuse([failure(.forbidden)])
            }
        }
        #expect(fixture.log.take().last?.hasPrefix("warning: non-zero block survey failed; the mount goes on") == true)
        #expect(fixture.recorder.calls == ["began", "page", "ended"])
        #expect(fixture.map.statistics.size == (isHashed ? 0 : 3))
    }

    @Test("a survey that is cancelled ends at once, while a page is under way or is waited with", arguments: [false, true])
    func isCancelled(isPausing: Bool) async throws {
        let fixture = try SurveyFixture(blockCount: 64)
        if isPausing { fixture.store.refuse([failure(.timedOut)]) }
        let survey = fixture.survey()
        try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 1000) {
            await withTaskGroup { group in
                group.addTask { await survey.run() }
                let moment = Duration.milliseconds(isPausing ? 20_000 : 700)
                do { try await fixture.timeline.sleep(until: moment) } catch { Issue.record(error) }
                group.cancelAll()
                await group.waitForAll()
                #expect(fixture.timeline.now == moment)
            }
        }
        #expect(fixture.log.take().last == "info: non-zero block survey canceled ")
        #expect(fixture.recorder.calls == ["began", "ended"] && fixture.map.statistics.size == 0)
    }
}
