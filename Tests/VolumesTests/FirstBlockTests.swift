// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing
import Volumes

@Suite("Block 0 and the sizes")
struct FirstBlockTests {
    static let sizes = ["s3backer-blocksize": "4096", "s3backer-filesize": "262144"]

    @Test(
        "the first mutation, of whatever kind, makes block 0 with the sizes",
        arguments: ["write", "write zero", "zero", "write block 0", "zero block 0", "zero everything"])
    func firstMutation(kind: String) async throws {
        let fixture = try await Fixture(isFresh: true)
        switch kind {
        case "write": try await fixture.write(1, to: 9)
        case "write zero": _ = try await fixture.volume.write(.zero, to: 9, .foreground)
        case "zero": try await fixture.volume.zero(BlockSet(blocks: [9]), .foreground)
        case "write block 0": try await fixture.write(1, to: 0)
        case "zero block 0": try await fixture.volume.zero(BlockSet(blocks: [0]), .foreground)
        default: try await fixture.volume.zero(BlockSet(fixture.volume.geometry.allBlocks), .foreground)
        }
        #expect(try await sizes(fixture) == Self.sizes)
        #expect(fixture.store.takeLog().filter { $0 == "PUT vm/00000000" }.count == 1)
    }

    @Test("concurrent first mutations make block 0 once, whatever the order", arguments: UInt64(0)..<20)
    func concurrent(seed: UInt64) async throws {
        let fixture = try await Fixture(isFresh: true)
        fixture.store.on { _ in
            await Task.yield()
            return .done
        }
        try SimulationExecutor(seed: seed).run(on: fixture.timeline, stepsMax: 10_000) {
            try await withThrowingTaskGroup { group in
                for block in 0..<8 as Range<BlockNumber> {
                    group.addTask { _ = try await fixture.volume.write(.filled(1), to: block, .foreground) }
                }
                try await group.waitForAll()
            }
        }
        for block in 0..<8 as Range<BlockNumber> {
            #expect(try await fixture.stored(block) == [UInt8](repeating: 1, count: 4096), "seed \(seed)")
        }
        let log = fixture.store.takeLog()
        #expect(log.filter { $0 == "PUT vm/00000000" }.count <= 2, "seed \(seed)")
        #expect(log.filter { $0 == "HEAD vm/00000000" }.count <= 1, "seed \(seed)")
        #expect(try await sizes(fixture) == Self.sizes)
    }

    @Test("an existing block 0 is not overwritten, also where the store ignores conditions")
    func existing() async throws {
        let fixture = try await Fixture(isFresh: true)
        try await fixture.arriveLate(7, at: 0)
        fixture.store.on { _ in .unconditional }
        try await fixture.write(1, to: 9)
        #expect(try await fixture.stored(0) == [UInt8](repeating: 7, count: 4096))
    }

    @Test("a block 0 that appears between look and write is left alone")
    func appears() async throws {
        let fixture = try await Fixture(isFresh: true)
        fixture.store.on { request in
            if request == "PUT vm/00000000" {
                do { try await fixture.arriveLate(7, at: 0) } catch { Issue.record(error) }
            }
            return .done
        }
        try await fixture.write(1, to: 9)
        #expect(try await fixture.stored(0) == [UInt8](repeating: 7, count: 4096))
        #expect(try await fixture.stored(9) != nil)
    }

    @Test("when block 0 cannot be made the mutation fails, and the next one tries again", arguments: ["HEAD", "PUT"])
    func failureIsTriedAgain(verb: String) async throws {
        let fixture = try await Fixture(isFresh: true)
        fixture.store.on { $0 == "\(verb) vm/00000000" ? .fails(failure(.serverError)) : .done }
        await #expect(throws: BlockStoreError.self) { try await fixture.write(1, to: 9) }
        #expect(try await fixture.stored(9) == nil)
        fixture.store.heal()
        try await fixture.write(1, to: 9)
        #expect(try await sizes(fixture) == Self.sizes)
        #expect(try await fixture.stored(9) != nil)
    }

    @Test("a refusal because of a conflict is not believed to mean that block 0 exists")
    func conflict() async throws {
        let fixture = try await Fixture(isFresh: true)
        fixture.store.on { $0 == "PUT vm/00000000" ? .fails(failure(.preconditionFailed)) : .done }
        await #expect(throws: BlockStoreError.self) { try await fixture.write(1, to: 9) }
        #expect(try await fixture.stored(9) == nil)
        fixture.store.heal()
        try await fixture.write(1, to: 9)
        #expect(try await sizes(fixture) == Self.sizes)
    }

    @Test("a write of block 0 waits until the one that made it empty is confirmed, and is not undone by that")
    func confirmedBeforeWrite() async throws {
        let fixture = try await Fixture(isFresh: true, watchedBlocksMax: 0)
        fixture.store.on { $0 == "PUT vm/00000000" ? .unsettled : .done }
        try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 10_000) {
            async let other: Void = { _ = try await fixture.write(1, to: 9) }()
            try await fixture.timeline.sleep(until: .seconds(10))
            fixture.store.heal()
            async let first: Void = { _ = try await fixture.write(7, to: 0) }()
            _ = try await (other, first)
        }
        #expect(try await fixture.stored(0) == [UInt8](repeating: 7, count: 4096))
        #expect(fixture.store.takeLog().filter { $0 == "PUT vm/00000000" }.count == 2)
    }

    @Test("block 0 asks for nothing once it is there")
    func onlyOnce() async throws {
        let fixture = try await Fixture(isFresh: true)
        try await fixture.write(1, to: 9)
        _ = fixture.store.takeLog()
        try await fixture.write(2, to: 9)
        try await fixture.write(2, to: 0)
        #expect(fixture.store.takeLog() == ["PUT vm/00000009", "PUT vm/00000000"])
    }

    @Test("zeroing block 0 keeps its object and its sizes, and it reads as zero", arguments: ["write", "zero", "zero all"])
    func zeroing(kind: String) async throws {
        let fixture = try await Fixture()
        try await fixture.write(1, to: 0)
        switch kind {
        case "write": #expect(try await fixture.write(0, to: 0) == .zero)
        case "zero": try await fixture.volume.zero(BlockSet(blocks: [0]), .foreground)
        default: try await fixture.volume.zero(BlockSet(fixture.volume.geometry.allBlocks), .foreground)
        }
        #expect(try await sizes(fixture) == Self.sizes)
        #expect(try await fixture.stored(0) == [UInt8](repeating: 0, count: 4096))
        #expect(try await fixture.volume.read(0, ifNot: nil, .foreground).isZero)
        #expect(try await fixture.volume.read(0, ifNot: .zero, .foreground).isUnchanged)
    }

    @Test("writing block 0 records the sizes in force")
    func recorded() async throws {
        let fixture = try await Fixture()
        #expect(try await sizes(fixture) == ["s3backer-blocksize": "4096"])
        try await fixture.write(1, to: 0)
        #expect(try await sizes(fixture) == Self.sizes)
    }

    private func sizes(_ fixture: Fixture) async throws -> [String: String]? {
        guard case .present(let attributes) = try await fixture.store.objects.head(fixture.keys.key(of: 0), .foreground)
        else { return nil }
        return attributes.metadata.user
    }
}
