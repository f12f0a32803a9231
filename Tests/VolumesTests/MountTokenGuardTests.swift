// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Testing

@testable import Volumes

@Suite("The guard of the mount token")
struct MountTokenGuardTests {
    static let look = "GET vm/s3backer-mounted"
    private let ours = MountToken(rawValue: 7)

    /// A volume that holds token 7.
    private func mounted() async throws -> Fixture {
        let ours = self.ours
        let fixture = try await Fixture { object, timeline in
            MountTokenGuard(token: ours, in: object, timeline: timeline, logger: quiet)
        }
        try await object(fixture).put(ours, .none)
        _ = fixture.store.takeLog()
        return fixture
    }

    private func object(_ fixture: Fixture) -> MountTokenObject {
        MountTokenObject(in: fixture.store, keys: fixture.keys, hostName: "other", timeline: fixture.timeline)
    }

    @Test("the token is read once a minute while writing, and not otherwise")
    func onceAMinute() async throws {
        let fixture = try await mounted()
        try await fixture.write(1, to: 3)
        fixture.timeline.advance(by: .seconds(59))
        try await fixture.write(1, to: 3)
        #expect(!fixture.store.takeLog().contains(Self.look))
        fixture.timeline.advance(by: .seconds(1))
        _ = try await fixture.read(3)
        try await fixture.volume.flush(.everything)
        #expect(!fixture.store.takeLog().contains(Self.look))
        try await fixture.write(1, to: 3)
        try await fixture.write(1, to: 4)
        #expect(fixture.store.takeLog() == [Self.look, "PUT vm/00000003", "PUT vm/00000004"])
    }

    @Test("a token taken over stops every change and flush, and no read", arguments: [true, false])
    func takenOver(isReplaced: Bool) async throws {
        let fixture = try await mounted()
        try await fixture.write(1, to: 3)
        if isReplaced {
            try await object(fixture).put(MountToken(rawValue: 8), .none)
        } else {
            try await object(fixture).delete()
        }
        fixture.timeline.advance(by: .seconds(60))
        _ = fixture.store.takeLog()
        let onWrite = await #expect(throws: BlockStoreError.self) { try await fixture.write(2, to: 3) }
        let onZero = await #expect(throws: BlockStoreError.self) {
            try await fixture.volume.zero(BlockSet(blocks: [0, 3]), .foreground)
        }
        let onFlush = await #expect(throws: BlockStoreError.self) { try await fixture.volume.flush(.everything) }
        for error in [onWrite, onZero, onFlush] {
            #expect(error?.code == .fenced)
            #expect(error?.message.contains(isReplaced ? "token 0x00000008, host \"other\"" : "was removed") == true)
        }
        #expect(fixture.store.takeLog() == [Self.look])
        #expect(try await fixture.read(3) == [UInt8](repeating: 1, count: 4096))
    }

    @Test("after a request that failed, or had no answer at first, the next change looks at the token", arguments: 0..<3)
    func afterFailure(kind: Int) async throws {
        let fixture = try await mounted()
        fixture.store.on { _ in kind == 2 ? .unsettled : .fails(failure(.timedOut)) }
        switch kind {
        case 0: await #expect(throws: BlockStoreError.self) { try await fixture.write(1, to: 3) }
        case 1: await #expect(throws: BlockStoreError.self) { try await fixture.read(3) }
        default: try await fixture.write(1, to: 3)
        }
        fixture.store.heal()
        _ = fixture.store.takeLog()
        try await fixture.write(2, to: 3)
        try await fixture.write(3, to: 3)
        #expect(fixture.store.takeLog() == [Self.look, "PUT vm/00000003", "PUT vm/00000003"])
    }

    @Test("a look without an answer fails the change with that failure, and fences nobody")
    func transient() async throws {
        let fixture = try await mounted()
        fixture.timeline.advance(by: .seconds(60))
        fixture.store.on { $0 == Self.look ? .fails(failure(.timedOut)) : .done }
        let error = await #expect(throws: BlockStoreError.self) { try await fixture.write(1, to: 3) }
        #expect(error?.code == .timedOut)
        #expect(try await fixture.stored(3) == nil)
        fixture.store.heal()
        try await fixture.write(1, to: 3)
    }

    @Test("changes at the same time share one look", arguments: UInt64(0)..<10)
    func shared(seed: UInt64) async throws {
        let fixture = try await mounted()
        fixture.timeline.advance(by: .seconds(60))
        fixture.store.on { _ in
            await Task.yield()
            return .done
        }
        try SimulationExecutor(seed: seed).run(on: fixture.timeline, stepsMax: 10_000) {
            try await withThrowingTaskGroup { group in
                for block in 1..<9 as Range<BlockNumber> {
                    group.addTask { _ = try await fixture.volume.write(.filled(1), to: block, .foreground) }
                }
                try await group.waitForAll()
            }
        }
        #expect(fixture.store.takeLog().filter { $0 == Self.look }.count == 1, "seed \(seed)")
    }

    @Test("a repair by flush asks the guard first")
    func repair() async throws {
        let fixture = try await mounted()
        fixture.store.on { _ in .unsettled }
        try await fixture.write(1, to: 3)
        fixture.store.heal()
        try await fixture.arriveLate(9, at: 3)
        try await object(fixture).put(MountToken(rawValue: 8), .none)
        let error = await #expect(throws: BlockStoreError.self) { try await fixture.volume.flush(.everything) }
        #expect(error?.code == .fenced)
        #expect(try await fixture.stored(3) == [UInt8](repeating: 9, count: 4096))
    }

    @Test(
        "what looks like a late attempt may be another mount's write, so the token is read before it is mended",
        arguments: [0, 1])
    func repairOfForeignWrite(byte: UInt8) async throws {
        let fixture = try await mounted()
        fixture.store.on { _ in .unsettled }
        try await fixture.write(byte, to: 3)
        fixture.store.heal()
        try await fixture.write(1, to: 4)
        try await object(fixture).put(MountToken(rawValue: 8), .none)
        try await fixture.arriveLate(9, at: 3)
        let error = await #expect(throws: BlockStoreError.self) { try await fixture.volume.flush(.everything) }
        #expect(error?.code == .fenced)
        #expect(try await fixture.stored(3) == [UInt8](repeating: 9, count: 4096))
    }

    @Test("a failure during a look makes the next look due at once")
    func failureDuringLook() {
        var machine = MountTokenGuardStateMachine(verifiedAt: .zero)
        func ask(_ now: Duration) -> MountTokenGuardStateMachine.Permission { machine.ask(now: now) }
        #expect(ask(.seconds(59)) == .granted)
        #expect(ask(.seconds(60)) == .check)
        #expect(ask(.seconds(60)) == .wait)
        machine.noteFailure()
        machine.endCheck(.ours)
        #expect(ask(.seconds(60)) == .check)
        machine.endCheck(.ours)
        #expect(ask(.seconds(61)) == .granted)
        machine.noteFailure()
        #expect(ask(.seconds(61)) == .check)
        machine.endCheck(.unanswered)
        #expect(ask(.seconds(61)) == .check)
        machine.endCheck(.foreign(nil))
        #expect(ask(.seconds(61)) == .lost(to: nil))
        machine.noteFailure()
        #expect(ask(.seconds(200)) == .lost(to: nil))
    }
}
