// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import ObjectStores
import StoreTesting
import Testing
@testable import Volumes

/// The objects that s3backer 2.1.6 made, given by rule and digest: written by us they are the same, and read by us the blocks.
@Suite("Golden objects")
struct GoldenTests {
    struct Golden: Sendable {
        let block: BlockNumber
        let bytes: [UInt8]
        let sha256: String
        let md5: String
    }

    static let ramp = (0..<4096).map { UInt8(truncatingIfNeeded: $0) }
    static let noise = (0..<128).flatMap { Digest.sha256.hash(Array("s3b-vector-\($0)".utf8)) }
    static let almostZero = [1] + [UInt8](repeating: 0, count: 4095)
    static let objects = [
        Golden(
            block: 0, bytes: ramp, sha256: "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193",
            md5: "2bcd3c4de20c918e19fab5c36249c70d"),
        Golden(
            block: 1, bytes: noise, sha256: "3da1222bcf91ba720264daab1c62998d2242ab9eaa8945abed4a0bbc4343580a",
            md5: "6a809a0d8f93b55cc071f031c68af9f1"),
        Golden(
            block: 2, bytes: almostZero, sha256: "f0c500e2401e1aee33d11ae25ae14e574820fbdb1731670af1888f88f3c17794",
            md5: "afe904447712c4f997a3e54cd9b3a4a7"),
        Golden(
            block: 0x1ff, bytes: ramp, sha256: "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193",
            md5: "2bcd3c4de20c918e19fab5c36249c70d"),
    ]
    static let names: [(isHashed: Bool, names: [String])] = [
        (false, ["00000000", "00000001", "00000002", "000001ff"]),
        (true, ["7183baa1-00000002", "a6cb90c7-000001ff", "c448b72c-00000000", "d211cad9-00000001"]),
    ]

    @Test("blocks written by us are byte for byte the objects of the C program", arguments: names)
    func write(isHashed: Bool, names: [String]) async throws {
        let objects = MemoryObjectStore()
        let volume = try open(objects, isHashed: isHashed)
        for golden in Self.objects {
            #expect(hexadecimal(Digest.sha256.hash(golden.bytes)) == golden.sha256)
            let contents = BlockContents.bytes(BufferSlice(Buffer(copying: golden.bytes)))
            let version = try await volume.write(contents, to: golden.block, .foreground)
            #expect(version == .tag(golden.md5))
        }
        #expect(objects.keys.map(\.name) == names)
        for golden in Self.objects {
            let key = BlockKeyScheme(prefix: "", isHashed: isHashed).key(of: golden.block)
            guard case .present(let attributes) = try await objects.head(key, .foreground) else {
                Issue.record("no object for block \(golden.block)")
                continue
            }
            #expect(attributes.eTag == ETag(golden.md5))
            let sizes = ["s3backer-blocksize": "4096", "s3backer-filesize": "2097152"]
            #expect(attributes.metadata.user == (golden.block == 0 ? sizes : [:]))
            #expect(attributes.metadata.contentType == "application/x-s3backer-block")
            #expect(attributes.metadata.contentEncoding == nil)
        }
    }

    @Test("objects of the C program are read as its blocks, sizes included", arguments: [false, true])
    func read(isHashed: Bool) async throws {
        let objects = MemoryObjectStore()
        let keys = BlockKeyScheme(prefix: "", isHashed: isHashed)
        for golden in Self.objects {
            var metadata = ObjectMetadata(contentType: "application/x-s3backer-block")
            if golden.block == 0 { metadata.user = ["s3backer-blocksize": "4096", "s3backer-filesize": "2097152"] }
            let body = BufferSlice(Buffer(copying: golden.bytes))
            _ = try await objects.put(keys.key(of: golden.block), body, metadata, .none, .foreground)
        }
        let probe = try await VolumeProbe(of: objects, keys: keys, isAnonymous: false).run()
        let volume = try open(objects, isHashed: isHashed)
        #expect(probe.result == .found(volume.geometry))
        for golden in Self.objects {
            let read = try await volume.read(golden.block, ifNot: nil, .foreground)
            #expect(read.contents?.spelt() == golden.bytes)
        }
        #expect(try await volume.read(3, ifNot: nil, .foreground).isZero)
    }

    private func open(_ objects: MemoryObjectStore, isHashed: Bool) throws -> DirectVolume {
        DirectVolume(
            over: objects, keys: BlockKeyScheme(prefix: "", isHashed: isHashed),
            geometry: try required(BlockGeometry(blockSize: 4096, blockCount: 512)), codec: plainCodec(blockSize: 4096),
            isFirstBlockPresent: false,
            checksSizes: false, fence: nil,
            limits: SettlementLimits(attemptTimeout: .seconds(30)), timeline: ManualTimeline(), logger: quiet)
    }
}
