// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Daemon
import ObjectStores
import StoreTesting
import Synchronization

@testable import Volumes

/// What is known of the passwords of a volume.
struct Passwords: Sendable {
    /// Those of which one holds; more than one after a change that ended without saying which.
    var possible = [first] {
        didSet { decoder = nil }
    }
    /// How many there were.
    var count = 1
    /// The codecs of a record of the key that was unlocked by a possible password; plain forms have no record.
    var decoder: (record: VolumeKeyRecord?, stack: CodecStack)?

    /// Of a new volume.
    static let first = "password 0"
}

/// Passwords, keys, and the decoding of objects by the test's own hand.
extension World {
    /// What a new key asks of whoever tries passwords: next to nothing.
    static let keyParameters = ScryptParameters(costLog2: 1, blockSize: 1, parallelism: 1)
    /// The keys of the compatible forms, by form and salt; each costs some milliseconds.
    private static let compatible: [String: CompatibleEncryption] = {
        var made: [String: CompatibleEncryption] = [:]
        for (form, cipher) in [(Form.aes128, .aes128CBC), (.aes256, .aes256CBC), (.des, .desEDE3CBC)] as [(Form, BlockCipher)] {
            for prefix in Scenario.prefixes {
                let salt = salt(prefix)
                made[form.rawValue + salt] = CompatibleEncryption(
                    cipher: cipher, keyCount: nil, password: secret(Passwords.first), salt: salt)
            }
        }
        return made
    }()

    private static func salt(_ prefix: String) -> String { "bucket/" + prefix }

    static func secret(_ password: String) -> SecretBytes { SecretBytes(Array(password.utf8)) }

    /// What a mount says of the codecs.
    func codecOptions(_ password: String) -> CodecOptions {
        var compression = scenario.form.compression
        if !scenario.isFixed, chance(0.3) { compression = [nil, .deflate(level: 1), .zstd(level: 1)][choice(of: 3)] }
        return scenario.form.options(compression, Self.secret(password), salt: Self.salt(scenario.keys.prefix))
    }

    /// What the key object says; nil when there is none.
    func keyRecord() async throws -> VolumeKeyRecord? {
        let read = try await memory.get(scenario.keys.volumeKeyKey, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = read else { return nil }
        return try VolumeKeyRecord(parsing: object.body.bytes)
    }

    /// The key that one of the possible passwords unlocks now, and that password.
    ///
    /// - Returns: Nil when the volume has no key.
    /// - Throws: When none of them does.
    func unlocked() async throws -> (key: VolumeKey, password: String)? {
        guard let record = try await keyRecord() else { return nil }
        let possible = passwords.withLock { $0.possible }
        for password in possible {
            if case .key(let key) = record.unwrap(by: Self.secret(password)) { return (key, password) }
        }
        throw Violation("the key object is not unlocked by \(possible)")
    }

    /// The password that holds; whoever does not know which of two it is, waits until nothing is on its way, and tries both.
    func password() async throws -> String {
        let isKnown = passwords.withLock { $0.possible.count == 1 }
        if !isKnown { try await faulty.deliverLate(of: scenario.keys.volumeKeyKey) }
        if let found = try await unlocked()?.password { passwords.withLock { $0.possible = [found] } }
        return passwords.withLock { $0.possible[0] }
    }

    /// Turns objects into blocks.
    ///
    /// - Returns: Nil when the volume has no key yet.
    func decoder() async throws -> CodecStack? {
        let record = scenario.form.hasKey ? try await keyRecord() : nil
        if let known = passwords.withLock({ $0.decoder }), known.record == record { return known.stack }
        let encryption: (any BlockEncryption)?
        if scenario.form.hasKey {
            guard let found = try await unlocked() else { return nil }
            encryption = GCMEncryption(volumeKey: found.key)
        } else {
            encryption = Self.compatible[scenario.form.rawValue + Self.salt(scenario.keys.prefix)]
        }
        let stack = CodecStack(
            compression: nil, encryption: encryption, defaultEncoding: nil, blockSize: scenario.geometry.blockSize, pool: pool)
        passwords.withLock { $0.decoder = (record, stack) }
        return stack
    }

    /// The bytes of a block's object; nil when it has none.
    func blockOnStore(_ block: Int) async throws -> BufferSlice? {
        switch try await memory.get(key(block), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground) {
        case .absent: return nil
        case .unchanged: throw Violation("an unconditional read was answered \"unchanged\"")
        case .object(let object):
            guard let decoder = try await decoder() else { throw Violation("there is a block, and no key object") }
            do throws(CodecError) {
                return try decoder.decode(object.body, object.attributes.metadata, of: BlockNumber(rawValue: UInt32(block)))
            } catch {
                throw Violation("the object of block \(block): \(error.message)")
            }
        }
    }

    /// Sees that what a mount writes is read by whoever has the password.
    func requireReadable(_ stack: Stack) async throws {
        guard let decoder = try await decoder() else { throw Violation("a volume is mounted that has no key") }
        let block = BlockNumber(rawValue: 0)
        let values = (0..<Scenario.unitsPerBlock).map { Units.value(mutation: 1, unit: $0) }
        let form = stack.volume.blocks.codec.encode(Units.fill(values, unitSize: unitSize), of: block)
        let metadata = ObjectMetadata(contentEncoding: form.contentEncoding, user: form.user)
        do throws(CodecError) {
            let found = try decoder.decode(form.body, metadata, of: block)
            guard Units.values(of: found, unitSize: unitSize) == values else { throw CodecError(.damaged, "other bytes") }
        } catch {
            throw Violation("what a mount writes, the password does not read: \(error.message)")
        }
    }

    /// Everything in the bucket.
    func attributes() async throws -> [ObjectKey: ObjectAttributes] {
        var found: [ObjectKey: ObjectAttributes] = [:]
        for key in memory.keys {
            if case .present(let attributes) = try await memory.head(key, .foreground) { found[key] = attributes }
        }
        return found
    }
}
