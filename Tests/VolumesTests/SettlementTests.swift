// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing
import Volumes

@Suite("Attempts without an answer")
struct SettlementTests {
    private func bytes(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 4096) }

    /// Writes `byte`, with an attempt before it that may arrive late.
    private func writeUnsettled(_ fixture: Fixture, _ byte: UInt8, to block: BlockNumber) async throws {
        fixture.store.on { _ in .unsettled }
        try await fixture.write(byte, to: block)
        fixture.store.heal()
        _ = fixture.store.takeLog()
    }

    @Test("a flush costs no request while every attempt was answered")
    func free() async throws {
        let fixture = try await Fixture()
        try await fixture.write(1, to: 3)
        try await fixture.volume.zero(BlockSet(blocks: [4, 5]), .foreground)
        _ = fixture.store.takeLog()
        try await fixture.volume.flush(.everything)
        #expect(fixture.store.takeLog() == [])
        #expect(fixture.volume.unsettledBlockCount == 0)
    }

    @Test("an older write that arrives late is undone by the next flush")
    func lateWrite() async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: 3)
        try await fixture.write(2, to: 3)
        try await fixture.arriveLate(1, at: 3)
        try await fixture.volume.flush(.everything)
        #expect(try await fixture.stored(3) == bytes(2))
        #expect(fixture.volume.statistics.mended == 1)
    }

    @Test("a block that the layers below call stale is written again, not given up", arguments: ["GET", "HEAD"])
    func staleConfirmation(verb: String) async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: 3)
        if verb == "GET" { fixture.store.on { $0.hasPrefix("PUT") ? .tagged(nil) : .done } }
        try await fixture.write(2, to: 3)
        fixture.store.on { request in
            guard request.hasPrefix(verb), request.hasSuffix("00000003") else { return .done }
            return .fails(ObjectStoreError(.stale, "an older version", outcomeIsUnknown: false))
        }
        try await fixture.volume.flush(.everything)
        #expect(fixture.volume.statistics.mended == 1)
    }

    @Test("an older delete that arrives late is undone by the next flush")
    func lateDelete() async throws {
        let fixture = try await Fixture()
        fixture.store.on { _ in .unsettled }
        try await fixture.volume.zero(BlockSet(blocks: [3, 4]), .foreground)
        fixture.store.heal()
        try await fixture.write(2, to: 3)
        try await fixture.arriveLate(nil, at: 3)
        try await fixture.volume.flush(.everything)
        #expect(try await fixture.stored(3) == bytes(2))
    }

    @Test("an older write that arrives late over a zero is undone by the next flush", arguments: [BlockNumber(0), 3])
    func lateOverZero(block: BlockNumber) async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: block)
        try await fixture.volume.zero(BlockSet(blocks: [block]), .foreground)
        try await fixture.arriveLate(1, at: block)
        #expect(try await fixture.read(block) == bytes(0))
        try await fixture.volume.flush(.everything)
        #expect(try await fixture.stored(block) == (block == 0 ? bytes(0) : nil))
    }

    @Test("a watched block reads as last written, whatever has arrived late")
    func readsDuringTheWatch() async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: 3)
        let version = try await fixture.write(2, to: 3)
        try await fixture.arriveLate(1, at: 3)
        #expect(try await fixture.read(3) == bytes(2))
        #expect(try await fixture.volume.read(3, ifNot: version, .foreground).isUnchanged)
    }

    @Test("a flush confirms the blocks of its scope with one HEAD each, zeros with one DELETE, and leaves others alone")
    func scope() async throws {
        let fixture = try await Fixture()
        for block: BlockNumber in [3, 4, 5, 6] { try await writeUnsettled(fixture, block == 5 || block == 6 ? 0 : 1, to: block) }
        try await fixture.volume.flush(.blocks(BlockSet(blocks: [3, 9])))
        #expect(fixture.store.takeLog() == ["HEAD vm/00000003"])
        try await fixture.volume.flush(.everything)
        #expect(Set(fixture.store.takeLog()) == ["HEAD vm/00000003", "HEAD vm/00000004", "DELETE 2 vm/00000005"])
    }

    @Test("a block is watched until it was confirmed after the window, and not longer")
    func windowEnds() async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: 3)
        try await fixture.volume.flush(.everything)
        fixture.timeline.advance(by: window - .seconds(1))
        try await fixture.volume.flush(.everything)
        #expect(fixture.store.takeLog() == ["HEAD vm/00000003", "HEAD vm/00000003"])
        fixture.timeline.advance(by: .seconds(1))
        try await fixture.volume.flush(.everything)
        #expect(fixture.store.takeLog() == ["HEAD vm/00000003"])
        try await fixture.volume.flush(.everything)
        #expect(fixture.store.takeLog() == [])
    }

    @Test("a write that failed leaves nothing to confirm, but the next write of the block has to be")
    func afterFailure() async throws {
        let fixture = try await Fixture()
        fixture.store.on { _ in .answerLost }
        await #expect(throws: BlockStoreError.self) { try await fixture.write(1, to: 3) }
        fixture.store.heal()
        _ = fixture.store.takeLog()
        try await fixture.volume.flush(.everything)
        #expect(fixture.store.takeLog() == [])
        try await fixture.write(2, to: 3)
        try await fixture.arriveLate(1, at: 3)
        try await fixture.volume.flush(.everything)
        #expect(try await fixture.stored(3) == bytes(2))
    }

    @Test("a write that failed does not let an attempt back in that is older than what was there")
    func failedOverWatched() async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: 3)
        try await fixture.write(2, to: 3)
        fixture.store.on { _ in .answerLost }
        await #expect(throws: BlockStoreError.self) { try await fixture.write(3, to: 3) }
        fixture.store.heal()
        try await fixture.arriveLate(1, at: 3)
        #expect(try await fixture.read(3) == bytes(2))
        try await fixture.volume.flush(.everything)
        #expect(try await fixture.stored(3) == bytes(2))
    }

    @Test("a confirmation that fails makes the flush fail, and the next flush tries again")
    func flushFails() async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: 3)
        try await fixture.write(2, to: 3)
        try await fixture.arriveLate(1, at: 3)
        for verb in ["HEAD", "PUT"] {
            fixture.store.on { $0.hasPrefix(verb) ? .fails(failure(.timedOut)) : .done }
            let error = await #expect(throws: BlockStoreError.self) { try await fixture.volume.flush(.everything) }
            #expect(error?.code == .timedOut)
        }
        fixture.store.heal()
        try await fixture.volume.flush(.everything)
        #expect(try await fixture.stored(3) == bytes(2))
    }

    @Test("without a tag that tells bytes apart, the bytes are compared", arguments: [ETag("W/x"), nil])
    func withoutTag(eTag: ETag?) async throws {
        let fixture = try await Fixture()
        try await writeUnsettled(fixture, 1, to: 3)
        fixture.store.on { _ in .tagged(eTag) }
        try await fixture.write(2, to: 3)
        _ = fixture.store.takeLog()
        try await fixture.volume.flush(.everything)
        #expect(fixture.store.takeLog() == ["GET vm/00000003"])
        try await fixture.arriveLate(1, at: 3)
        try await fixture.volume.flush(.everything)
        #expect(try await fixture.stored(3) == bytes(2))
    }

    @Test("a write for which there is no room is confirmed, after the window, before it returns")
    func noRoom() async throws {
        let fixture = try await Fixture(retainedBytesMax: 4096)
        try await writeUnsettled(fixture, 1, to: 3)
        fixture.store.on { $0.hasPrefix("PUT") ? .unsettled : .done }
        try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 1000) {
            async let write: Void = { _ = try await fixture.write(2, to: 4) }()
            try await fixture.timeline.sleep(until: window / 2)
            #expect(try await fixture.stored(4) == [UInt8](repeating: 2, count: 4096))
            try await fixture.arriveLate(1, at: 4)
            fixture.store.heal()
            try await write
        }
        #expect(fixture.timeline.now >= window)
        #expect(try await fixture.stored(4) == bytes(2))
        try await fixture.volume.flush(.everything)
        #expect(fixture.volume.unsettledBlockCount == 0)
    }

    @Test("a write waits while a flush mends its block, and wins")
    func writeDuringMending() async throws {
        for seed in UInt64(0)..<20 {
            let fixture = try await Fixture()
            try await writeUnsettled(fixture, 1, to: 3)
            try await fixture.write(2, to: 3)
            try await fixture.arriveLate(1, at: 3)
            let inFlight = Mutex(0)
            fixture.store.on { request in
                guard request == "PUT vm/00000003" else { return .done }
                #expect(inFlight.withLock { $0 } == 0, "two mutations of one key, seed \(seed)")
                inFlight.withLock { $0 += 1 }
                for _ in 0..<5 { await Task.yield() }
                inFlight.withLock { $0 -= 1 }
                return .done
            }
            try SimulationExecutor(seed: seed).run(on: fixture.timeline, stepsMax: 1000) {
                async let flush: Void = fixture.volume.flush(.everything)
                async let write = fixture.write(3, to: 3)
                _ = try await (flush, write)
            }
            #expect(try await fixture.stored(3) == bytes(3), "seed \(seed)")
        }
    }

    @Test("only what a block needs is kept of a large write")
    func detached() async throws {
        let fixture = try await Fixture()
        fixture.store.on { _ in .unsettled }
        weak var large: Buffer?
        try await {
            let buffer = Buffer(copying: [UInt8](repeating: 1, count: 1 << 20))
            large = buffer
            let slice = BufferSlice(buffer, range: 0..<4096)
            _ = try await fixture.volume.write(.bytes(slice), to: 3, .foreground)
            try await fixture.arriveLate(2, at: 3)
        }()
        #expect(large == nil)
        #expect(try await fixture.read(3) == bytes(1))
    }
}
