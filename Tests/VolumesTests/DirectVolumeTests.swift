// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import StoreTesting
import Testing
import Volumes

@Suite("Blocks as objects")
struct DirectVolumeTests {
    @Test("a block never written reads as zero, and is verified as zero")
    func absent() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.volume.read(5, ifNot: nil, .foreground).isZero)
        #expect(try await fixture.volume.read(5, ifNot: .zero, .foreground).isUnchanged)
        #expect(try await fixture.volume.read(5, ifNot: .tag("x"), .foreground).isZero)
        #expect(fixture.volume.statistics.zeroBlocksRead == 2)
        #expect(fixture.volume.statistics.verified == 1)
        #expect(fixture.volume.statistics.mismatch == 1)
    }

    @Test("a block is read back, with a version that later reads can verify")
    func readBack() async throws {
        let fixture = try await Fixture()
        let version = try await fixture.write(7, to: 5)
        let read = try await fixture.volume.read(5, ifNot: nil, .foreground)
        #expect(read.contents?.spelt() == [UInt8](repeating: 7, count: 4096))
        #expect(read.version == version)
        #expect(try await fixture.volume.read(5, ifNot: version, .foreground).isUnchanged)
        #expect(try await fixture.volume.read(5, ifNot: .unknown, .foreground).version == version)
        #expect(try await fixture.volume.read(5, ifNot: .zero, .foreground).version == version)
        try await fixture.write(8, to: 5)
        #expect(try await fixture.volume.read(5, ifNot: version, .foreground).contents?.spelt().first == 8)
    }

    @Test("zeros are the absence of an object, whichever way they are written")
    func zeros() async throws {
        let fixture = try await Fixture()
        for block: BlockNumber in [5, 6, 7] { try await fixture.write(1, to: block) }
        #expect(try await fixture.volume.write(.zero, to: 5, .foreground) == .zero)
        #expect(try await fixture.write(0, to: 6) == .zero)
        try await fixture.volume.zero(BlockSet(blocks: [7]), .foreground)
        #expect(fixture.store.objects.keys == [fixture.keys.key(of: 0)])
        #expect(fixture.volume.statistics.zeroBlocksWritten == 3)
        #expect(fixture.volume.statistics.normalBlocksWritten == 3)
    }

    @Test("zeroing many blocks takes one request per thousand")
    func batches() async throws {
        let fixture = try await Fixture(blockCount: 4000)
        try await fixture.volume.zero(BlockSet(blocks: (1...2500).map { BlockNumber($0) }), .foreground)
        #expect(
            Set(fixture.store.takeLog())
                == ["DELETE 1000 vm/00000001", "DELETE 1000 vm/000003e9", "DELETE 500 vm/000007d1"])
    }

    @Test("an object of another length than a block is corrupt, and the message names block and lengths")
    func wrongLength() async throws {
        let fixture = try await Fixture()
        let body = BufferSlice(Buffer(copying: [1, 2, 3, 4, 5]))
        _ = try await fixture.store.objects.put(fixture.keys.key(of: 3), body, ObjectMetadata(), .none, .foreground)
        let error = await #expect(throws: BlockStoreError.self) { try await fixture.read(3) }
        #expect(error?.code == .corrupt)
        #expect(error?.message.contains("block 00000003 (object \"vm/00000003\"): it has 5 bytes instead of 4096") == true)
    }

    @Test("an encoded object is corrupt, and the message names the encoding")
    func encoded() async throws {
        let fixture = try await Fixture()
        let body = BufferSlice(Buffer(copying: [UInt8](repeating: 1, count: 4096)))
        let metadata = ObjectMetadata(contentEncoding: "deflate, encrypt-AES-128-CBC")
        _ = try await fixture.store.objects.put(fixture.keys.key(of: 3), body, metadata, .none, .foreground)
        let error = await #expect(throws: BlockStoreError.self) { try await fixture.read(3) }
        #expect(error?.code == .corrupt)
        #expect(error?.message.contains("Content-Encoding \"deflate, encrypt-AES-128-CBC\"") == true)
    }

    @Test("a weak tag or none makes a version that verifies nothing", arguments: [ETag("W/x"), nil])
    func weakTags(eTag: ETag?) async throws {
        let fixture = try await Fixture()
        fixture.store.on { _ in .tagged(eTag) }
        #expect(try await fixture.write(1, to: 3) == .unknown)
        #expect(try await fixture.volume.read(3, ifNot: nil, .foreground).version == .unknown)
    }

    static let codes: [(ObjectStoreError.Code, BlockStoreError.Code)] = [
        (.noSuchBucket, .io), (.unauthorized, .accessDenied), (.forbidden, .forbidden), (.clockSkewed, .io),
        (.preconditionFailed, .stale), (.redirected, .redirected), (.slowDown, .io), (.serverError, .io),
        (.notImplemented, .io), (.badRequest, .io), (.unexpectedStatus, .io), (.malformedAnswer, .io), (.notS3, .io),
        (.timedOut, .timedOut),
        (.connectFailed, .unreachable), (.hostUnknown, .unreachable), (.connectionLost, .io), (.outOfMemory, .outOfMemory),
        (.noSpace, .noSpace), (.io, .io), (.cancelled, .cancelled), (.fenced, .fenced), (.stale, .stale),
    ]

    @Test("every failure of the store has its code, names block and object, and keeps its cause", arguments: codes)
    func errors(code: ObjectStoreError.Code, expected: BlockStoreError.Code) async throws {
        let fixture = try await Fixture()
        fixture.store.on { _ in .fails(failure(code)) }
        let onRead = await #expect(throws: BlockStoreError.self) { try await fixture.read(3) }
        let onWrite = await #expect(throws: BlockStoreError.self) { try await fixture.write(1, to: 3) }
        let onZero = await #expect(throws: BlockStoreError.self) {
            try await fixture.volume.zero(BlockSet(blocks: [3, 4]), .foreground)
        }
        for error in [onRead, onWrite, onZero] {
            #expect(error?.code == expected)
            #expect(error?.message.contains("00000003 (object \"vm/00000003\")") == true)
            #expect(error?.message.contains(code.rawValue) == true)
            #expect((error?.cause as? ObjectStoreError)?.code == code)
        }
    }

    @Test("every code of the object waist is in the table of this test")
    func allCodes() {
        #expect(Set(Self.codes.map(\.0)) == Set(ObjectStoreError.Code.allCases))
    }

    @Test("where data lies is not known here")
    func extents() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.volume.extents(in: 3..<9) == [BlockExtent(blocks: 3..<9, kind: .data)])
        #expect(try await fixture.volume.extents(in: 3..<3) == [])
        #expect(fixture.store.takeLog() == [])
    }
}
