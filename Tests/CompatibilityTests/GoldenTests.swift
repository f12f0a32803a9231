// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Logging
import ObjectStores
import StoreTesting
import Testing
@testable import Volumes

/// The objects of the C program are ours, in both directions and to the last byte.
@Suite("The C program's objects")
struct GoldenTests {
    @Test("every object of the C program decodes to its block", arguments: GoldenSet.names)
    func decode(name: String) throws {
        let set = try GoldenSet(name)
        let codec = try set.codec()
        #expect(set.entries.map(\.block.rawValue).sorted() == [0, 1, 2, 0x1ff])
        for entry in set.entries {
            #expect(try codec.decode(entry.body, entry.metadata, of: entry.block).bytes == entry.plain, "\(entry.key)")
        }
    }

    @Test("every block encodes to the C program's object, byte for byte and header for header", arguments: GoldenSet.names)
    func encode(name: String) throws {
        let set = try GoldenSet(name)
        let codec = try set.codec()
        for entry in set.entries {
            let form = codec.encode(BufferSlice(Buffer(copying: entry.plain)), of: entry.block)
            #expect(form.body.bytes == entry.body.bytes, "\(entry.key)")
            #expect(form.contentEncoding == entry.metadata.contentEncoding)
            #expect(form.user == entry.metadata.user.filter { $0.key == "s3backer-hmac" })
            #expect(base64(form.body.withBytes { Digest.md5.hash($0) }) == entry.fields["content-md5"])
        }
    }

    @Test("a volume of the C program is read through its objects", arguments: GoldenSet.names)
    func read(name: String) async throws {
        let set = try GoldenSet(name)
        let objects = MemoryObjectStore()
        for entry in set.entries { _ = try await objects.put(entry.key, entry.body, entry.metadata, .none, .foreground) }
        let probe = try await VolumeProbe(of: objects, keys: set.keys, isAnonymous: false).run()
        let volume = try open(set, objects)
        #expect(probe.result == .found(volume.geometry))
        for entry in set.entries {
            guard case .block(.bytes(let bytes), .tag) = try await volume.read(entry.block, ifNot: nil, .foreground) else {
                Issue.record("\(entry.key) is no block")
                continue
            }
            #expect(bytes.bytes == entry.plain, "\(entry.key)")
        }
        let absent = try await volume.read(BlockNumber(rawValue: 3), ifNot: nil, .foreground)
        guard case .block(.zero, .zero) = absent else {
            Issue.record("a block without an object is zeros, also in an encrypted volume")
            return
        }
    }

    @Test("a volume written by us is the C program's, object for object", arguments: GoldenSet.names)
    func write(name: String) async throws {
        let set = try GoldenSet(name)
        let objects = MemoryObjectStore()
        let volume = try open(set, objects)
        for entry in set.entries {
            let contents = BlockContents.bytes(BufferSlice(Buffer(copying: entry.plain)))
            _ = try await volume.write(contents, to: entry.block, .foreground)
        }
        #expect(objects.keys == set.entries.map(\.key).sorted())
        for entry in set.entries {
            let answer = try await objects.get(entry.key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
            guard case .object(let object) = answer else {
                Issue.record("no object \(entry.key)")
                continue
            }
            #expect(object.body.bytes == entry.body.bytes, "\(entry.key)")
            #expect(object.attributes.metadata == entry.metadata, "\(entry.key)")
            #expect(object.attributes.eTag == ETag(hexadecimal(entry.body.withBytes { Digest.md5.hash($0) })))
        }
    }

    @Test(
        "keys and vectors are the C program's", arguments: ["enc128", "enc128lvl0", "enc256", "des3"])
    func derive(name: String) throws {
        let set = try GoldenSet(name)
        let encryption = try required(try set.encryption())
        #expect(encryption.key.withBytes { hexadecimal($0) } == set.head["key"])
        #expect(encryption.vectorKey.withBytes { hexadecimal($0) } == set.head["vector-key"])
        for entry in set.entries {
            #expect(encryption.withVector(of: entry.block) { hexadecimal($0) } == entry.fields["vector"], "\(entry.key)")
        }
    }

    private func open(_ set: GoldenSet, _ objects: MemoryObjectStore) throws -> DirectVolume {
        DirectVolume(
            over: objects, keys: set.keys, geometry: try required(BlockGeometry(blockSize: GoldenSet.blockSize, blockCount: 512)),
            codec: try set.codec(), isFirstBlockPresent: false, checksSizes: false, fence: nil,
            limits: SettlementLimits(attemptTimeout: .seconds(30)), timeline: ManualTimeline(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }
}
