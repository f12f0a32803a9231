// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Logging
import ObjectStores
import StoreTesting
import Synchronization
import Volumes

@testable import Volumes

/// The lines of a log, with their metadata, for the test to read.
final class LogRecorder: LogHandler {
    private let records = Mutex<[String]>([])
    private let level: Logger.Level

    init(from level: Logger.Level = .notice) { self.level = level }

    /// The lines since the last call.
    func take() -> [String] {
        records.withLock { records in
            defer { records = [] }
            return records
        }
    }

    var logger: Logger { Logger(label: "test") { _ in self } }
    var metadata: Logger.Metadata {
        get { [:] }
        set(metadata) { precondition(metadata.isEmpty, "no test sets metadata") }
    }
    var logLevel: Logger.Level {
        get { level }
        set(logLevel) { precondition(logLevel == level, "no test sets the level") }
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set(value) { precondition(value == nil, "no test sets metadata") }
    }

    func log(event: LogEvent) {
        let metadata = event.metadata ?? [:]
        let pairs = metadata.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
        records.withLock { $0.append("\(event.level): \(event.message) \(pairs)") }
    }
}

/// A volume of 1 MiB in blocks of 4 KiB under `vm/`, encrypted in one way or another, over a scripted store.
struct EncryptedFixture: Sendable {
    let store = ScriptedObjectStore()
    let timeline = ManualTimeline()
    let log = LogRecorder()
    let key = ObjectKey("vm/s3backer-key")

    /// Ways in which a volume is encrypted.
    enum Way: String, CaseIterable, Sendable {
        case plain, deflate, aes128, aes256, gcm

        /// What the user says for it.
        func options(_ password: String) -> CodecOptions {
            var scheme: EncryptionOptions.Scheme?
            switch self {
            case .plain: return .plain
            case .deflate: break
            case .aes128: scheme = .compatible(.aes128CBC, keyCount: nil)
            case .aes256: scheme = .compatible(.aes256CBC, keyCount: nil)
            case .gcm: scheme = .aes256GCM
            }
            return CodecOptions(
                compression: self == .gcm ? nil : Compression(.deflate, level: 1),
                encryption: scheme.map { EncryptionOptions(scheme: $0, password: secret(password), salt: "b/vm/") },
                defaultContentEncoding: nil)
        }
    }

    /// Options for the volume, detected unless told otherwise.
    func options(_ way: Way, _ password: String = "geheim", _ change: (inout VolumeOptions) -> Void = { _ in }) -> VolumeOptions {
        var options = VolumeOptions(
            description: "bucket \"b/vm\"", keys: BlockKeyScheme(prefix: "vm/", isHashed: false), codec: way.options(password),
            sizes: ConfiguredSizes(blockSize: nil, diskSize: 1 << 20), detectsSizes: true, isReadOnly: false, isForced: false,
            usesMountToken: true, isAnonymous: false, hostName: "vm", limits: SettlementLimits(attemptTimeout: .seconds(30)))
        change(&options)
        return options
    }

    /// Opens the volume.
    func open(_ options: VolumeOptions) async throws(VolumeError) -> Volume {
        try await Volume.open(
            over: store, options, token: MountToken(rawValue: 7), keyParameters: quickScrypt,
            pool: BufferPool(retainedBytesMax: 0), timeline: timeline, logger: log.logger, onDetected: { _ in },
            claim: { _, _ in nil })
    }

    /// Makes the volume, writes `blocks`, each filled with its number plus one, and closes it.
    func make(_ way: Way, _ password: String = "geheim", blocks: [UInt8] = [0, 1, 2, 3, 4, 5, 6]) async throws {
        let volume = try await open(options(way, password))
        for block in blocks {
            _ = try await volume.blocks.write(.filled(block + 1), to: BlockNumber(rawValue: UInt32(block)), .foreground)
        }
        try await close(volume)
        _ = (store.takeLog(), log.take())
    }

    /// Closes a volume.
    func close(_ volume: Volume) async throws {
        let pool = BufferPool(retainedBytesMax: 0)
        let disk = BlockDisk(over: ReadModifyWrite(over: volume.blocks, pool: pool), fanOutMax: 8, isReadOnly: false)
        try await volume.shutDown(flushing: disk)
    }

    /// Changes an object behind the volume's back.
    func tamper(_ name: String, _ change: (inout [UInt8], inout ObjectMetadata) -> Void) async throws {
        let key = ObjectKey(name)
        let read = try await store.objects.get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = read else { throw FixtureError() }
        var (bytes, metadata) = (object.body.bytes, object.attributes.metadata)
        change(&bytes, &metadata)
        _ = try await store.objects.put(key, BufferSlice(Buffer(copying: bytes)), metadata, .none, .foreground)
    }

    /// Deletes objects behind the volume's back.
    func delete(_ names: String...) async throws {
        _ = try await store.objects.delete(names.map { ObjectKey($0) }, .foreground)
    }

    /// Whether the requests since the last look at the log changed nothing.
    func changedNothing() -> Bool { !store.takeLog().contains { $0.hasPrefix("PUT") || $0.hasPrefix("DELETE") } }
}
