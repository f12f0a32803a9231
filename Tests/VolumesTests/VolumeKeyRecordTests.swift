// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import StoreTesting
import Testing

@testable import Volumes

@Suite("The text of a key object")
struct VolumeKeyRecordTests {
    static let record = VolumeKeyRecord(
        volume: Array(0..<16), parameters: .forVolumes, salt: Array(32..<64), nonce: Array(64..<88), wrapped: Array(100..<148))

    private func message(_ text: String) -> String? {
        do {
            _ = try VolumeKeyRecord(parsing: Array(text.utf8))
            return nil
        } catch {
            return error.message
        }
    }

    @Test("a record is printed and read back")
    func roundTrip() throws {
        var generator = SeededGenerator(seed: 1)
        for (costLog2, blockSize, parallelism) in [(17, 8, 1), (1, 1, 1), (15, 1, 16), (19, 8, 16), (10, 4096, 2)] {
            let record = VolumeKeyRecord(
                volume: generator.bytes(count: 16),
                parameters: ScryptParameters(costLog2: costLog2, blockSize: blockSize, parallelism: parallelism),
                salt: generator.bytes(count: 32), nonce: generator.bytes(count: 24), wrapped: generator.bytes(count: 48))
            #expect(try VolumeKeyRecord(parsing: record.bytes) == record)
        }
    }

    static let text = String(decoding: record.bytes, as: UTF8.self)
    static let refusals: [(text: String, cause: String)] = [
        ("", "it is no key object of a volume"), ("hello\n", "it is no key object of a volume"),
        (String(repeating: "x", count: 4097), "more than 4096 bytes"),
        (text.replacing("key 1\n", with: "key 2\n"), "written by a newer version of this program (format 2, known is 1)"),
        (text.replacing("key 1\n", with: "key 12\n"), "written by a newer version"),
        (text.replacing("key 1\n", with: "key \n"), "names no version"),
        (text.replacing("key 1\n", with: "key 01\n"), "names no version"),
        (text.replacing("key 1\n", with: "key 1 \n"), "names no version"),
        ("s3backer volume key 3", "written by a newer version"), (text + "\n", "it has not six lines"),
        (String(text.dropLast()), "it has not six lines"), (text + text, "it has not six lines"),
        (text.replacing("\n", with: "\r\n"), "names no version"),
        (text.replacing("volume 00", with: "volume 0"), "its line \"volume\" is not 32 hexadecimal digits"),
        (text.replacing("volume 00", with: "Volume 00"), "its line \"volume\""),
        (text.replacing("volume 00", with: "volume 0G"), "its line \"volume\" is not 32 lower-case hexadecimal digits"),
        (text.replacing("2a2b", with: "2A2b"), "its line \"salt\" is not 64 lower-case hexadecimal digits"),
        (text.replacing("scrypt", with: "argon2id"), "does not say scrypt"),
        (text.replacing("N=131072", with: "N=131071"), "a power of two"),
        (text.replacing("N=131072", with: "N=1"), "a power of two"),
        (text.replacing("N=131072", with: "N=0"), "a power of two"), (text.replacing("N=131072", with: "N=-2"), "a power of two"),
        (text.replacing("N=131072", with: "N=0131072"), "not spelt"), (text.replacing("r=8", with: "r=08"), "not spelt"),
        (text.replacing("r=8", with: "r=0"), "more memory or time"), (text.replacing("p=1", with: "p=0"), "more memory or time"),
        (text.replacing("p=1", with: "p=17"), "more memory or time"), (text.replacing("p=1", with: "p=1 "), "a power of two"),
        (text.replacing("r=8 p=1", with: "p=1 r=8"), "a power of two"),
        (text.replacing("N=131072", with: "N=1048576"), "more memory or time"),
        (text.replacing("N=131072", with: "N=549755813888"), "more memory or time"),
        (text.replacing("r=8", with: "r=999999999999"), "more memory or time"),
        (text.replacing("r=8", with: "r=9999999999999999999999"), "a power of two"),
    ]

    @Test("anything else is refused, with the cause", arguments: refusals)
    func refused(text: String, cause: String) {
        #expect(message(text)?.contains(cause) == true, "\(message(text) ?? "accepted")")
    }

    @Test("a byte that is changed is refused, or makes another record; two texts never make the same")
    func everyByte() throws {
        let bytes = Self.record.bytes
        for index in bytes.indices {
            for value in UInt8.min...UInt8.max where value != bytes[index] {
                var changed = bytes
                changed[index] = value
                do {
                    let record = try VolumeKeyRecord(parsing: changed)
                    #expect(record != Self.record && record.bytes == changed)
                } catch {
                    #expect(!error.message.isEmpty)
                }
            }
        }
    }

    @Test("any bytes at all are read or refused, and what is read is printed in the same way", arguments: UInt64(0)..<20)
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            var bytes = Self.record.bytes
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
                let index = Int.random(in: bytes.indices, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(contentsOf: generator.bytes(count: Int.random(in: 1...40, using: &generator)), at: index)
                default: bytes.removeSubrange(index...)
                }
            }
            do {
                let record = try VolumeKeyRecord(parsing: bytes)
                #expect(record.bytes == bytes, "seed \(seed)")
                #expect(record.parameters.isAffordable, "seed \(seed)")
            } catch {
                #expect(!error.message.isEmpty && !error.message.contains("\n"), "seed \(seed)")
            }
        }
    }

    // MARK: Wrapping

    private func key(_ record: VolumeKeyRecord, _ password: String) -> [UInt8]? {
        guard case .key(let key) = record.unwrap(by: secret(password)) else { return nil }
        return key.key.withBytes { Array($0) }
    }

    @Test("a password unwraps the key that it wrapped, and no other password does")
    func wrapping() throws {
        let volumeKey = VolumeKey.fresh()
        let record = try required(VolumeKeyRecord(wrapping: volumeKey, by: secret("one"), quickScrypt))
        #expect(record.volume == volumeKey.id)
        #expect(key(record, "one") == volumeKey.key.withBytes { Array($0) })
        for other in ["", "two", "One", "one ", " one"] { #expect(key(record, other) == nil) }
        let again = try required(VolumeKeyRecord(wrapping: volumeKey, by: secret("one"), quickScrypt))
        #expect(again.salt != record.salt && again.nonce != record.nonce && again.wrapped != record.wrapped)
    }

    @Test("every flipped bit of the object is refused, by the parser or with the password")
    func tampering() throws {
        let record = try required(VolumeKeyRecord(wrapping: .fresh(), by: secret("one"), quickScrypt))
        let bytes = record.bytes
        for bit in 0..<bytes.count * 8 {
            var changed = bytes
            changed[bit / 8] ^= 1 << (bit % 8)
            do {
                #expect(key(try VolumeKeyRecord(parsing: changed), "one") == nil, "bit \(bit)")
            } catch {
                #expect(!error.message.isEmpty)
            }
        }
    }

    @Test("parameters that scrypt cannot be run with are an error, not a crash")
    func outOfMemory() {
        let parameters = ScryptParameters(costLog2: 60, blockSize: 1 << 20, parallelism: 1)
        #expect(VolumeKeyRecord(wrapping: .fresh(), by: secret("one"), parameters) == nil)
    }
}
