// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Glibc
import Testing

@Suite("Secrets")
struct SecretTests {
    private struct Holder {
        let name = "volume"
        let key: SecretBytes
    }

    @Test("a secret shows in no description")
    func descriptions() {
        let secret = SecretBytes(Array("hunter2".utf8))
        let holder = Holder(key: secret)
        var dumped = ""
        dump(holder, to: &dumped)
        dump(secret, to: &dumped)
        let texts = [
            "\(secret)", String(reflecting: secret), String(describing: Optional(secret)), "\([secret])", "\(holder)",
            String(reflecting: holder), dumped,
        ]
        for text in texts {
            #expect(text.contains("****"))
            // As text, as the numbers of its bytes, and as hexadecimal digits.
            #expect(!text.contains("hunter2") && !text.contains("104") && !text.lowercased().contains("68756e"))
        }
        #expect(Mirror(reflecting: secret).children.isEmpty)
    }

    @Test("a secret is the bytes it was given", arguments: [0, 1, 32, 4096, 4097])
    func content(count: Int) {
        var random = Random(seed: UInt64(count))
        let bytes = random.bytes(count)
        let secrets = [
            SecretBytes(bytes), bytes.withUnsafeBytes { SecretBytes(copying: $0) },
            SecretBytes(count: count) { $0.copyBytes(from: bytes) },
        ]
        for secret in secrets {
            #expect(secret.count == count)
            #expect(secret.withBytes { Array($0) } == bytes)
        }
    }

    @Test("an error while a secret is filled is the caller's")
    func failure() {
        struct Refused: Error {}
        #expect(throws: Refused.self) { try SecretBytes(count: 8) { _ throws(Refused) in throw Refused() } }
    }

    @Test("random bytes differ from each other and fill all of the memory")
    func random() {
        let one = SecretBytes.random(count: 32)
        let two = SecretBytes.random(count: 32)
        #expect(one.count == 32)
        #expect(one.withBytes { Array($0) } != two.withBytes { Array($0) })
        // In 64 fills each byte is other than zero once; that it is not has a chance of 2^-512.
        var seen = [UInt8](repeating: 0, count: 100)
        for _ in 0..<64 {
            var target = [UInt8](repeating: 0, count: 100)
            target.withUnsafeMutableBytes { fillRandom($0) }
            for index in target.indices { seen[index] |= target[index] }
        }
        #expect(!seen.contains(0))
        fillRandom(UnsafeMutableRawBufferPointer(start: nil, count: 0))
    }

    /// What the kernel says of the memory at `address`: the flags of /proc/self/smaps.
    private func flags(at address: UInt) throws -> [Substring] {
        let file = try #require(fopen("/proc/self/smaps", "r"))
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 8192)
        var isIn = false
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let words = text.split(whereSeparator: \.isWhitespace)
            let bounds = words.first?.split(separator: "-").compactMap { UInt($0, radix: 16) } ?? []
            if bounds.count == 2 { isIn = bounds[0] <= address && address < bounds[1] }
            if isIn, words.first == "VmFlags:" { return Array(words.dropFirst()) }
        }
        return []
    }

    @Test("a secret is kept out of core dumps and out of swap, also when its lock was lost to a fork")
    func custody() throws {
        let secret = SecretBytes(Array("hunter2".utf8))
        let address = try #require(secret.withBytes { $0.baseAddress })
        let before = try flags(at: UInt(bitPattern: address))
        #expect(before.contains("dd"))
        // Where the limits of the process allow no lock, there is none to be lost.
        guard before.contains("lo") else { return }
        munlock(address, 4096)
        #expect(try !flags(at: UInt(bitPattern: address)).contains("lo"))
        secret.lockAgain()
        #expect(try flags(at: UInt(bitPattern: address)).contains("lo"))
    }

    @Test("texts are equal when all bytes and the lengths are")
    func comparison() {
        func isEqual(_ one: [UInt8], _ other: [UInt8]) -> Bool {
            one.withUnsafeBytes { one in other.withUnsafeBytes { isEqualInConstantTime(one, $0) } }
        }
        #expect(isEqual([], []))
        #expect(isEqual([1, 2, 3], [1, 2, 3]))
        #expect(!isEqual([1, 2, 3], [1, 2]))
        #expect(!isEqual([], [0]))
        for index in 0..<20 {
            let one = [UInt8](repeating: 5, count: 20)
            var other = one
            other[index] ^= 0x80
            #expect(!isEqual(one, other))
        }
    }
}
