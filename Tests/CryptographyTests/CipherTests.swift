// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing

@Suite("Ciphers in CBC mode")
struct CipherTests {
    @Test(
        "a cipher has the names that libcrypto gives it, in any case of letters",
        arguments: [
            ("AES-128-CBC", BlockCipher.aes128CBC), ("aes-128-cbc", .aes128CBC), ("aes128", .aes128CBC), ("AES128", .aes128CBC),
            ("AES192", .aes192CBC), ("aes-192-cbc", .aes192CBC), ("Aes256", .aes256CBC), ("aes-256-CBC", .aes256CBC),
            ("des3", .desEDE3CBC), ("DES3", .desEDE3CBC), ("des-ede3-cbc", .desEDE3CBC), ("1.2.840.113549.3.7", .desEDE3CBC),
            ("aria128", .aria128CBC), ("ARIA192", .aria192CBC), ("aria-256-cbc", .aria256CBC),
        ])
    func names(name: String, cipher: BlockCipher) {
        #expect(BlockCipher(named: name) == cipher)
    }

    @Test(
        "a cipher of another mode or family has no name here",
        arguments: [
            "AES-128-CTR", "AES-256-GCM", "AES-128-ECB", "AES-256-XTS", "BF-CBC", "bf", "CAMELLIA-128-CBC", "camellia256", "des",
            "DES-EDE3", "des-ede-cbc", "SM4-CBC", "ChaCha20", "aes", "AES-128", "aria-128", "", " aes128", "aes128 ",
        ])
    func otherNames(name: String) {
        #expect(BlockCipher(named: name) == nil)
    }

    /// Key, vector, plain text, encrypted text, without padding.
    struct Vector: Sendable, CustomTestStringConvertible {
        let cipher: BlockCipher
        let key: String
        let vector: String
        let plain: String
        let encrypted: String
        var testDescription: String { cipher.canonicalName }

        /// AES as NIST SP 800-38A appendix F.2 has it; triple DES and ARIA as `openssl enc -nopad` writes them.
        static let all = [
            Vector(
                cipher: .aes128CBC, key: "2b7e151628aed2a6abf7158809cf4f3c", vector: "000102030405060708090a0b0c0d0e0f",
                plain: fourBlocks,
                encrypted: "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
                    + "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"),
            Vector(
                cipher: .aes192CBC, key: "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                vector: "000102030405060708090a0b0c0d0e0f", plain: fourBlocks,
                encrypted: "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
                    + "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd"),
            Vector(
                cipher: .aes256CBC, key: "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                vector: "000102030405060708090a0b0c0d0e0f", plain: fourBlocks,
                encrypted: "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
                    + "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"),
            Vector(
                cipher: .desEDE3CBC, key: "0123456789abcdef23456789abcdef01456789abcdef0123",
                vector: "f69f2445df4f9b17", plain: fourBlocks,
                encrypted: "2079c3d53aa763e193b79e2569ab5262516570481f25b50f73c0bda85c8e0da7"
                    + "9bd86425fae429fdbd65a7a21b6e5d20925d8b0ef919a428154b96ed90f2bc1e"),
            Vector(
                cipher: .aria128CBC, key: "00112233445566778899aabbccddeeff",
                vector: "0f1e2d3c4b5a69788796a5b4c3d2e1f0", plain: fourBlocks,
                encrypted: "908945a7077a4311c4d6d1acb9854be35441c1cd0fc7edc13aedde8a18e90112"
                    + "1f6d2100ca8e1d6c1e1459c3ce7f0a44b57894138aae8721ac3a715d00ab5ef0"),
            Vector(
                cipher: .aria192CBC, key: "00112233445566778899aabbccddeeff0011223344556677",
                vector: "0f1e2d3c4b5a69788796a5b4c3d2e1f0", plain: fourBlocks,
                encrypted: "26745d0e789c1028cbf17d53d9a1e86d19a412e37679aef12bffc9a7d224fd6d"
                    + "be880f76254fa21f7a4ac7b5cd440851faabfcacb44af36d44bc6522a7f742b0"),
            Vector(
                cipher: .aria256CBC, key: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                vector: "0f1e2d3c4b5a69788796a5b4c3d2e1f0", plain: fourBlocks,
                encrypted: "c93343c6768ccd0b80bb58c6327867d98e68f2d5a49e1017acc0798204159167"
                    + "7cfbe11c97eefc1545a1948ee944e3c575982329f4e07c556fd767228ff2d6bc"),
        ]
        private static let fourBlocks =
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
            + "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    }
    @Test("a cipher is the one of the published vectors, in both directions and every time", arguments: Vector.all)
    func vectors(vector: Vector) throws {
        let cipher = CBCCipher(vector.cipher, key: SecretBytes(try bytes(vector.key)))
        let start = try bytes(vector.vector)
        let plain = try bytes(vector.plain)
        for _ in 0..<3 {
            var encrypted = [UInt8](repeating: 0, count: plain.count)
            lend(plain, start, &encrypted) { cipher.encryptUnpadded($0, vector: $1, into: $2) }
            #expect(hexadecimal(encrypted) == vector.encrypted)
            let padded = encrypt(plain, start, with: cipher)
            #expect(padded.count == plain.count + vector.cipher.blockCount)
            #expect(padded.starts(with: encrypted))
            #expect(decrypt(padded, start, with: cipher) == plain)
        }
    }

    @Test("only the leading bytes of key and vector count")
    func leadingBytes() throws {
        let vector = Vector.all[0]
        let cipher = CBCCipher(vector.cipher, key: SecretBytes(try bytes(vector.key) + [1, 2, 3]))
        var encrypted = try bytes(vector.plain)
        lend(try bytes(vector.plain), try bytes(vector.vector) + [4], &encrypted) {
            cipher.encryptUnpadded($0, vector: $1, into: $2)
        }
        #expect(hexadecimal(encrypted) == vector.encrypted)
    }

    @Test("the padding is the one of openssl enc", arguments: [0, 1, 15, 16, 17])
    func padding(count: Int) throws {
        // openssl enc -aes-128-cbc -K 2b7e151628aed2a6abf7158809cf4f3c -iv 000102030405060708090a0b0c0d0e0f, over count bytes 'a'.
        let expected = [
            0: "c84af0b613435d5d9182801a9bd9320b", 1: "a902d0a2f0d04643794fc3c11e3ecc4a", 15: "4f4bfa47a07d7092046cf6af6f8cf4f1",
            16: "ddae2d954fe3dc4898157c44c80d6ed2796e5627cebf2f7fae4474247176d631",
            17: "ddae2d954fe3dc4898157c44c80d6ed24c71148eab314c1309f19ba36998880a",
        ]
        let vector = Vector.all[0]
        let cipher = CBCCipher(.aes128CBC, key: SecretBytes(try bytes(vector.key)))
        let encrypted = encrypt([UInt8](repeating: 97, count: count), try bytes(vector.vector), with: cipher)
        #expect(hexadecimal(encrypted) == expected[count])
    }

    @Test("every length comes back, in place as elsewhere", arguments: BlockCipher.allCases)
    func roundTrips(cipher kind: BlockCipher) {
        let seed = UInt64.random(in: .min ... .max)
        var random = Random(seed: seed)
        let cipher = CBCCipher(kind, key: SecretBytes(random.bytes(kind.keyCount)))
        let lengths = Array(0...65) + [4095, 4096, 4097, 100_001]
        for length in lengths {
            let plain = random.bytes(length)
            let vector = random.bytes(kind.blockCount)
            let encrypted = encrypt(plain, vector, with: cipher)
            var inPlace: [UInt8] = plain + [UInt8](repeating: 0xee, count: kind.blockCount + 3)
            let count = inPlace.withUnsafeMutableBytes { memory in
                vector.withUnsafeBytes {
                    cipher.encrypt(UnsafeRawBufferPointer(rebasing: memory[..<length]), vector: $0, into: memory)
                }
            }
            #expect(Array(inPlace.prefix(count)) == encrypted, "seed \(seed), \(length) bytes")
            #expect(inPlace[count...].allSatisfy { $0 == 0xee }, "bytes after the text were written")
            #expect(decrypt(encrypted, vector, with: cipher) == plain, "seed \(seed), \(length) bytes")
            let plainCount = inPlace.withUnsafeMutableBytes { memory in
                vector.withUnsafeBytes {
                    cipher.decrypt(UnsafeRawBufferPointer(rebasing: memory[..<count]), vector: $0, into: memory)
                }
            }
            #expect(plainCount == length && inPlace.prefix(length) == plain[...], "seed \(seed), \(length) bytes")
        }
    }

    @Test("what is not whole blocks, or ends in no padding, is not decrypted")
    func badTexts() {
        let cipher = CBCCipher(.aes128CBC, key: SecretBytes([UInt8](repeating: 7, count: 16)))
        let vector = [UInt8](repeating: 9, count: 16)
        #expect(decrypt([], vector, with: cipher) == nil)
        #expect(decrypt([UInt8](repeating: 1, count: 15), vector, with: cipher) == nil)
        #expect(decrypt([UInt8](repeating: 1, count: 33), vector, with: cipher) == nil)
        // What the last block says when it is taken off: nothing, too much, and bytes that differ.
        let ends: [[UInt8]] = [[0], [17], [255], [3, 2, 3], [2, 3, 3], [15] + [UInt8](repeating: 16, count: 15)]
        for end in ends {
            let plain = [UInt8](repeating: 99, count: 32 - end.count) + end
            var encrypted = plain
            lend(plain, vector, &encrypted) { cipher.encryptUnpadded($0, vector: $1, into: $2) }
            #expect(decrypt(encrypted, vector, with: cipher) == nil, "\(end)")
        }
        let good = [UInt8](repeating: 99, count: 30) + [2, 2]
        var encrypted = good
        lend(good, vector, &encrypted) { cipher.encryptUnpadded($0, vector: $1, into: $2) }
        #expect(decrypt(encrypted, vector, with: cipher) == Array(good.prefix(30)))
    }

    @Test("one cipher serves many tasks at once")
    func parallel() async {
        let cipher = CBCCipher(.aes256CBC, key: SecretBytes([UInt8](repeating: 3, count: 32)))
        let isRight = await withTaskGroup(of: Bool.self) { group in
            for task in 0..<16 {
                group.addTask {
                    let plain = [UInt8](repeating: UInt8(task), count: 1000 + task)
                    let vector = [UInt8](repeating: UInt8(255 - task), count: 16)
                    let own = CBCCipher(.aes256CBC, key: SecretBytes([UInt8](repeating: 3, count: 32)))
                    let expected = encrypt(plain, vector, with: own)
                    return (0..<200).allSatisfy { _ in
                        encrypt(plain, vector, with: cipher) == expected && decrypt(expected, vector, with: cipher) == plain
                    }
                }
            }
            return await group.reduce(true) { $0 && $1 }
        }
        #expect(isRight)
    }
}

private func encrypt(_ plain: [UInt8], _ vector: [UInt8], with cipher: CBCCipher) -> [UInt8] {
    var target = [UInt8](repeating: 0, count: plain.count + cipher.cipher.blockCount)
    let count = lend(plain, vector, &target) { cipher.encrypt($0, vector: $1, into: $2) }
    return Array(target.prefix(count))
}

private func decrypt(_ encrypted: [UInt8], _ vector: [UInt8], with cipher: CBCCipher) -> [UInt8]? {
    var target = [UInt8](repeating: 0, count: encrypted.count)
    return lend(encrypted, vector, &target) { cipher.decrypt($0, vector: $1, into: $2) }.map { Array(target.prefix($0)) }
}

@discardableResult
private func lend<Result>(
    _ source: [UInt8], _ vector: [UInt8], _ target: inout [UInt8],
    _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Result
) -> Result {
    source.withUnsafeBytes { source in
        vector.withUnsafeBytes { vector in target.withUnsafeMutableBytes { body(source, vector, $0) } }
    }
}
