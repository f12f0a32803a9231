// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Logging
import ObjectStores
import StoreTesting
import Testing

@testable import Volumes

@Suite("Opening a volume that exists, with options that do not fit it")
struct OpeningTests {
    private let store = ScriptedObjectStore()
    private let timeline = ManualTimeline()
    /// A disk of 1 MiB in blocks of 8 KiB.
    private static let recorded = ["s3backer-blocksize": "8192", "s3backer-filesize": "1048576"]

    private func put(_ name: String, _ user: [String: String] = [:]) async throws {
        let body = BufferSlice(Buffer(copying: [UInt8](repeating: 9, count: 8192)))
        _ = try await store.objects.put(ObjectKey(name), body, ObjectMetadata(user: user), .none, .foreground)
    }

    private func open(
        isHashed: Bool = false, blockSize: Int? = nil, size: UInt64? = 1 << 20, detectsSizes: Bool = true,
        isForced: Bool = false
    ) async throws(VolumeError) -> Volume {
        let options = VolumeOptions(
            description: "bucket \"b/vm\"", keys: BlockKeyScheme(prefix: "vm/", isHashed: isHashed), codec: .plain,
            sizes: ConfiguredSizes(blockSize: blockSize, diskSize: size), detectsSizes: detectsSizes, isReadOnly: false,
            isForced: isForced, usesMountToken: false, isAnonymous: false, hostName: "vm",
            limits: SettlementLimits(attemptTimeout: .seconds(30)))
        return try await Volume.open(
            over: store, options, token: MountToken(rawValue: 7), pool: BufferPool(retainedBytesMax: 0), timeline: timeline,
            logger: quiet)
    }

    private func refusal(_ body: () async throws -> some Any) async -> VolumeError? {
        await #expect(throws: VolumeError.self) { _ = try await body() }
    }

    // MARK: Names

    static let names: [(isHashed: Bool, others: String)] = [
        (true, "vm/00000000"), (false, "vm/c448b72c-00000000"), (true, "vm/00000007"), (false, "vm/d211cad9-00000001"),
    ]

    @Test("a volume whose block names are of the other kind is refused, not opened as a fresh one", arguments: names)
    func otherNames(isHashed: Bool, others: String) async throws {
        try await put(others, others.hasSuffix("00000000") ? Self.recorded : [:])
        for (size, blockSize) in [(1 << 20, nil), (1 << 20, 8192), (nil, nil)] as [(UInt64?, Int?)] {
            let error = await refusal { try await open(isHashed: isHashed, blockSize: blockSize, size: size) }
            #expect(error?.code == .geometry)
            #expect(error?.message.contains("\"\(others)\"") == true)
            #expect(error?.message.contains(isHashed ? "leave out --blockHashPrefix" : "use --blockHashPrefix") == true)
        }
        #expect(store.objects.keys == [ObjectKey(others)])
    }

    @Test("--force opens it only with both sizes, and with a warning that names --blockHashPrefix", arguments: names)
    func otherNamesForced(isHashed: Bool, others: String) async throws {
        try await put(others)
        let error = await refusal { try await open(isHashed: isHashed, isForced: true) }
        #expect(error?.message.contains("--blockHashPrefix") == true)
        let volume = try await open(isHashed: isHashed, blockSize: 4096, isForced: true)
        #expect(volume.decision.warnings.contains { $0.contains("--blockHashPrefix") })
    }

    @Test("blocks with the volume's own kind of names are its blocks, whatever else stands beside them")
    func bothNames() async throws {
        try await put("vm/00000007")
        try await put("vm/d211cad9-00000001")
        for isHashed in [false, true] {
            let volume = try await open(isHashed: isHashed, blockSize: 8192)
            #expect(volume.decision.warnings.count == 1)
            #expect(!volume.decision.warnings[0].contains("--blockHashPrefix"))
        }
    }

    @Test("where the bucket may not be listed, block 0 under its other name tells", arguments: [false, true])
    func listRefused(isHashed: Bool) async throws {
        try await put(isHashed ? "vm/00000000" : "vm/c448b72c-00000000", Self.recorded)
        store.on { $0.hasPrefix("LIST") ? .fails(failure(.forbidden)) : .done }
        let error = await refusal { try await open(isHashed: isHashed, blockSize: 8192) }
        #expect(error?.message.contains("--blockHashPrefix") == true)
    }

    // MARK: --noAutoDetect

    @Test("without detection and without a block size, the block size is read all the same, never guessed")
    func blockSizeIsNotGuessed() async throws {
        try await put("vm/00000000", Self.recorded)
        #expect(try await open(detectsSizes: false).geometry == BlockGeometry(blockSize: 8192, blockCount: 128))
        let error = await refusal { try await open(size: 2 << 20, detectsSizes: false) }
        #expect(error?.message.contains("configured size 2m is not the volume's 1m") == true)
    }

    @Test("without detection and without a block size, blocks without block 0 are refused")
    func blockSizeIsNotKnown() async throws {
        try await put("vm/00000007")
        let error = await refusal { try await open(detectsSizes: false) }
        #expect(error?.message.contains("specify both --blockSize and --size") == true)
    }

    @Test("without detection a fresh volume gets the default block size, and the notice says that detection is off")
    func freshWithoutDetection() async throws {
        let volume = try await open(detectsSizes: false)
        #expect(volume.decision.notice == "auto-detection disabled; using default block size 4k and total size 1m")
    }

    @Test("without detection and with both sizes the start asks for nothing")
    func startIsCheap() async throws {
        try await put("vm/00000000", Self.recorded)
        _ = try await open(blockSize: 4096, detectsSizes: false)
        #expect(store.takeLog() == [])
    }

    @Test(
        "sizes that were not detected are compared before the first change, which fails when the volume has others",
        arguments: [(4096, 1 << 20), (8192, 2 << 20)] as [(Int, UInt64)], ["write", "write block 0", "zero", "zero block 0"])
    func comparedLater(sizes: (Int, UInt64), kind: String) async throws {
        try await put("vm/00000000", Self.recorded)
        let volume = try await open(blockSize: sizes.0, size: sizes.1, detectsSizes: false)
        for _ in 0..<2 {
            let error = await #expect(throws: BlockStoreError.self) { try await change(volume, kind) }
            #expect(error?.code == .corrupt)
            #expect(error?.message.contains("block size 8k and size 1m") == true)
        }
        #expect(store.takeLog() == ["HEAD vm/00000000", "HEAD vm/00000000"])
        let forced = try await open(blockSize: sizes.0, size: sizes.1, detectsSizes: false, isForced: true)
        try await change(forced, kind)
    }

    @Test("sizes that were not detected and are right cost one HEAD in all")
    func comparedOnce() async throws {
        try await put("vm/00000000", Self.recorded)
        let volume = try await open(blockSize: 8192, detectsSizes: false)
        for kind in ["write block 0", "write", "zero"] { try await change(volume, kind) }
        #expect(store.takeLog() == ["HEAD vm/00000000", "PUT vm/00000000", "PUT vm/00000009", "DELETE 1 vm/00000009"])
    }

    @Test("without detection, too, block 0 under its other name stops the first change", arguments: [false, true])
    func otherNamesLater(isHashed: Bool) async throws {
        try await put(isHashed ? "vm/00000000" : "vm/c448b72c-00000000", Self.recorded)
        let volume = try await open(isHashed: isHashed, blockSize: 8192, detectsSizes: false)
        let error = await #expect(throws: BlockStoreError.self) { try await change(volume, "write") }
        #expect(error?.message.contains("--blockHashPrefix") == true)
        #expect(store.objects.keys.count == 1)
    }

    private func change(_ volume: Volume, _ kind: String) async throws {
        let block = BlockNumber(rawValue: kind.hasSuffix("0") ? 0 : 9)
        if kind.hasPrefix("zero") {
            try await volume.blocks.zero(BlockSet(blocks: [block]), .foreground)
        } else {
            _ = try await volume.blocks.write(.filled(1, count: volume.geometry.blockSize), to: block, .foreground)
        }
    }
}
