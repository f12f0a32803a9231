// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Logging
import ObjectStores
import StoreTesting
@testable import Volumes

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
let window = Duration.seconds(60)

extension BlockContents {
    /// One block of 4 KiB, all bytes `byte`.
    static func filled(_ byte: UInt8, count: Int = 4096) -> BlockContents {
        .bytes(BufferSlice(Buffer(copying: [UInt8](repeating: byte, count: count))))
    }

    /// The bytes; zeros are spelt out.
    func spelt(count: Int = 4096) -> [UInt8] {
        switch self {
        case .zero: [UInt8](repeating: 0, count: count)
        case .bytes(let slice): slice.bytes
        }
    }
}

extension BlockRead {
    var contents: BlockContents? {
        if case .block(let contents, _) = self { contents } else { nil }
    }
    var version: BlockVersion? {
        if case .block(_, let version) = self { version } else { nil }
    }
    var isUnchanged: Bool {
        if case .unchanged = self { true } else { false }
    }
    var isZero: Bool {
        if case .block(.zero, .zero) = self { true } else { false }
    }
}

/// A volume of 64 blocks of 4 KiB under `vm/`, over a scripted store.
struct Fixture: Sendable {
    let store = ScriptedObjectStore()
    let timeline = ManualTimeline()
    let keys = BlockKeyScheme(prefix: "vm/", isHashed: false)
    let volume: DirectVolume

    /// - Parameter isFresh: Whether block 0 has no object yet; else it has one, and the volume knows.
    init(
        isFresh: Bool = false, blockCount: Int = 64, retainedBytesMax: Int = 1 << 20, watchedBlocksMax: Int = 100,
        fence: ((MountTokenObject, ManualTimeline) -> MountTokenGuard)? = nil
    ) async throws {
        let geometry = try required(BlockGeometry(blockSize: 4096, blockCount: blockCount))
        let object = MountTokenObject(in: store, keys: keys, hostName: "vm", timeline: timeline)
        if !isFresh {
            let zeros = BufferSlice(Buffer(copying: [UInt8](repeating: 0, count: 4096)))
            _ = try await store.objects.put(
                keys.key(of: 0), zeros, ObjectMetadata(user: ["s3backer-blocksize": "4096"]), .none, .foreground)
        }
        volume = DirectVolume(
            over: store, keys: keys, geometry: geometry, codec: plainCodec(blockSize: geometry.blockSize),
            isFirstBlockPresent: !isFresh, checksSizes: false,
            fence: fence?(object, timeline),
            limits: SettlementLimits(
                window: window, retainedBytesMax: retainedBytesMax, watchedBlocksMax: watchedBlocksMax),
            timeline: timeline, logger: quiet)
    }

    /// Reads a block through the volume.
    func read(_ block: BlockNumber) async throws -> [UInt8] {
        try required(try await volume.read(block, ifNot: nil, .foreground).contents).spelt()
    }

    /// Writes a block through the volume.
    @discardableResult
    func write(_ byte: UInt8, to block: BlockNumber) async throws -> BlockVersion {
        try await volume.write(.filled(byte), to: block, .foreground)
    }

    /// What the store holds for a block; nil when there is no object.
    func stored(_ block: BlockNumber) async throws -> [UInt8]? {
        let read = try await store.objects.get(keys.key(of: block), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        if case .object(let object) = read { return object.body.bytes }
        return nil
    }

    /// Changes an object behind the volume's back, as an attempt that arrives late does; nil deletes.
    func arriveLate(_ byte: UInt8?, at block: BlockNumber) async throws {
        guard let byte else {
            _ = try await store.objects.delete([keys.key(of: block)], .background)
            return
        }
        let body = BufferSlice(Buffer(copying: [UInt8](repeating: byte, count: 4096)))
        _ = try await store.objects.put(keys.key(of: block), body, ObjectMetadata(), .none, .background)
    }
}

/// The value, or an error when there is none.
func required<Value>(_ value: Value?) throws -> Value {
    guard let value else { throw FixtureError() }
    return value
}

struct FixtureError: Error {}

extension BlockNumber: ExpressibleByIntegerLiteral {
    init(integerLiteral value: UInt32) { self.init(rawValue: value) }
}

/// Codecs that leave blocks as they are.
func plainCodec(blockSize: Int) -> CodecStack {
    CodecStack(
        compression: nil, encryption: nil, defaultEncoding: nil, blockSize: blockSize, pool: BufferPool(retainedBytesMax: 0))
}

/// scrypt without its cost.
let quickScrypt = ScryptParameters(costLog2: 1, blockSize: 1, parallelism: 1)

/// A password.
func secret(_ text: String) -> SecretBytes { SecretBytes(Array(text.utf8)) }
