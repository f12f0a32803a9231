// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import ObjectStores
import Testing

@testable import Volumes

@Suite("Finding out the sizes")
struct VolumeProbeTests {
    private let store = ScriptedObjectStore()
    private let empty = BufferSlice(Buffer(copying: [UInt8](repeating: 1, count: 16)))

    private func put(_ name: String, _ user: [String: String] = [:]) async throws {
        _ = try await store.objects.put(ObjectKey(name), empty, ObjectMetadata(user: user), .none, .foreground)
    }

    private func probe(isHashed: Bool = false, isAnonymous: Bool = false) -> VolumeProbe {
        VolumeProbe(of: store, keys: BlockKeyScheme(prefix: "vm/", isHashed: isHashed), isAnonymous: isAnonymous)
    }

    @Test("the sizes stand in the metadata of block 0, which costs one HEAD", arguments: [false, true])
    func found(isHashed: Bool) async throws {
        let name = isHashed ? "vm/c448b72c-00000000" : "vm/00000000"
        try await put(name, ["s3backer-blocksize": "65536", "s3backer-filesize": "1073741824"])
        let geometry = try required(BlockGeometry(blockSize: 65536, blockCount: 16384))
        #expect(try await probe(isHashed: isHashed).run().result == .found(geometry))
        #expect(store.takeLog() == ["HEAD \(name)"])
    }

    static let nonsense: [(blockSize: String?, diskSize: String?, problem: String)] = [
        (nil, "1048576", "s3backer-blocksize is missing"), ("4096", nil, "s3backer-filesize is missing"),
        (nil, nil, "s3backer-blocksize is missing, s3backer-filesize is missing"),
        ("0", "1048576", "s3backer-blocksize is zero"), ("4096", "0", "s3backer-filesize is zero"),
        ("4k", "1048576", "s3backer-blocksize is not a number: \"4k\""), ("4096", "", "s3backer-filesize is not a number: \"\""),
        ("-4096", "1048576", "s3backer-blocksize is not a number: \"-4096\""),
        ("+4096", "1048576", "s3backer-blocksize is not a number: \"+4096\""),
        ("5000", "1000000", "s3backer-blocksize is not a power of two: 5000"),
        ("4096", "99999999999999999999", "s3backer-filesize is too large: \"99999999999999999999\""),
        ("99999999999999999999", "4096", "s3backer-blocksize is too large: \"99999999999999999999\""),
        ("4294967296", "8589934592", "s3backer-blocksize is too large: 4294967296"),
        ("4096", "5000", "s3backer-filesize 5000 is not a multiple of the block size 4096"),
        ("1", "4294967296", "s3backer-filesize 4294967296 means 2^32 blocks or more"),
    ]

    @Test("metadata that makes no sense is named field by field", arguments: nonsense)
    func damaged(blockSize: String?, diskSize: String?, problem: String) async throws {
        var user: [String: String] = [:]
        user["s3backer-blocksize"] = blockSize
        user["s3backer-filesize"] = diskSize
        try await put("vm/00000000", user)
        #expect(try await probe().run().result == .damaged(problem))
    }

    @Test("a volume never written to has no block at all, whatever else there is")
    func absent() async throws {
        for name in ["00000001", "vm/readme", "vm/s3backer-mounted", "vm/0000001", "vm/00000001.bak"] { try await put(name) }
        #expect(try await probe().run().result == .absent(.none))
        #expect(store.takeLog() == ["HEAD vm/00000000", "GET vm/00000000", "LIST vm/"])
    }

    @Test("blocks without block 0 are seen, among any number of other objects", arguments: [false, true])
    func othersExist(isHashed: Bool) async throws {
        for number in 0..<1500 { try await put("vm/00000000.\(number)") }
        let name = isHashed ? "vm/d211cad9-00000001" : "vm/00000001"
        try await put(name)
        #expect(try await probe(isHashed: isHashed).run().result == .absent(.example(ObjectKey(name))))
    }

    @Test("when the bucket may not be listed it is not known whether blocks exist")
    func listRefused() async throws {
        store.on { $0.hasPrefix("LIST") ? .fails(failure(.forbidden)) : .done }
        #expect(try await probe().run().result == .absent(.unknown("the store says forbidden")))
    }

    @Test("a missing bucket is an error, though the HEAD says only 404")
    func noBucket() async throws {
        store.on { $0.hasPrefix("GET") ? .fails(failure(.noSuchBucket)) : .done }
        let probe = self.probe()
        let error = await #expect(throws: VolumeError.self) { try await probe.run() }
        #expect(error?.code == .store)
        #expect(
            error?.message
                == "cannot look for the volume's sizes (object \"vm/00000000\"): the store says noSuchBucket")
    }

    @Test("a refusal is explained to whoever has credentials, and passed on to the anonymous", arguments: [false, true])
    func refused(isAnonymous: Bool) async throws {
        store.on { _ in .fails(failure(.forbidden)) }
        let probe = self.probe(isAnonymous: isAnonymous)
        let error = await #expect(throws: VolumeError.self) { try await probe.run() }
        #expect(error?.message.contains("the store says forbidden") == true)
        #expect(error?.message.contains("s3:ListBucket") == !isAnonymous)
        #expect(store.takeLog() == ["HEAD vm/00000000", "GET vm/00000000"])
    }
}
