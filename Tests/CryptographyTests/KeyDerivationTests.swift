// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing

@Suite("Keys from passwords")
struct KeyDerivationTests {
    private func pbkdf2(_ password: [UInt8], _ salt: [UInt8], _ iterations: Int, _ count: Int) -> [UInt8] {
        password.withUnsafeBytes { password in
            salt.withUnsafeBytes { salt in
                KeyDerivation.pbkdf2SHA1(password: password, salt: salt, iterations: iterations, count: count)
            }
        }.withBytes { Array($0) }
    }

    @Test(
        "PBKDF2 is the one of RFC 6070",
        arguments: [
            ("password", "salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
            ("password", "salt", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
            ("password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
            (
                "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096,
                "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038"
            ),
            ("pass\0word", "sa\0lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"),
        ])
    func pbkdf2Vectors(password: String, salt: String, iterations: Int, key: String) {
        #expect(hexadecimal(pbkdf2(Array(password.utf8), Array(salt.utf8), iterations, key.utf8.count / 2)) == key)
    }

    @Test(
        "the keys of a volume are those that the C program derives",
        arguments: [
            (
                "hunter2", "bkt/vec-enc128/", 16, "b21c082c6822226cd2103a2843afc008", "20d008ef6a8953fb52ab1b67129571ce"
            ),
            (
                "correct-horse", "bkt/vec-enc256/", 32,
                "6a899c6ba8dc3d88e09ad23aaeb0195a6e99fcc222dadcdac19a924b0ad2ed6d",
                "7eeab3b93ce5a708669813a7736dabff8a3fab2ac986dfbf3e6cc0a49b039381"
            ),
            (
                "hunter2", "bkt/vec-des3/", 24, "721b022389cf682a9cbf805a0270bef41c25fc4e0c6e4e2f",
                "a62afb6a9306ea65240a867d28d3f4d13c5225683a6b6af4"
            ),
        ])
    func volumeKeys(password: String, salt: String, count: Int, key: String, vectorKey: String) {
        let derived = pbkdf2(Array(password.utf8), Array(salt.utf8), 5000, count)
        #expect(hexadecimal(derived) == key)
        #expect(hexadecimal(pbkdf2(derived, derived, 5000, count)) == vectorKey)
    }

    @Test("an empty password and an empty salt have a key too")
    func emptyPassword() {
        #expect(hexadecimal(pbkdf2([], [], 1, 20)) == "1e437a1c79d75be61e91141dae20affc4892cc99")
    }

    @Test(
        "scrypt is the one of RFC 7914",
        arguments: [
            (
                "", "", 4, 1, 1,
                "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
                    + "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"
            ),
            (
                "password", "NaCl", 10, 8, 16,
                "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                    + "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
            ),
            (
                "pleaseletmein", "SodiumChloride", 14, 8, 1,
                "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                    + "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
            ),
        ])
    func scryptVectors(password: String, salt: String, costLog2: Int, blockSize: Int, parallelism: Int, key: String) {
        let parameters = ScryptParameters(costLog2: costLog2, blockSize: blockSize, parallelism: parallelism)
        let derived = KeyDerivation.scrypt(
            password: SecretBytes(Array(password.utf8)), salt: Array(salt.utf8), parameters, count: 64)
        #expect(derived?.withBytes { hexadecimal($0) } == key)
    }

    @Test("scrypt with the memory that a volume's key costs is not refused")
    func largeScrypt() {
        let parameters = ScryptParameters(costLog2: 17, blockSize: 8, parallelism: 1)
        #expect(parameters.memoryCount == 128 * 8 * (131_072 + 3))
        let derived = KeyDerivation.scrypt(password: SecretBytes(Array("hunter2".utf8)), salt: [1, 2, 3], parameters, count: 32)
        #expect(derived?.withBytes { hexadecimal($0) } == "8fe811e445284e5898f5a9d62739a15fcd5a35a957642a619224567f02748730")
    }

    @Test(
        "parameters that scrypt does not allow, or that no memory suffices for, derive nothing",
        arguments: [
            (0, 8, 1), (-1, 8, 1), (63, 8, 1), (64, 8, 1), (14, 0, 1), (14, -8, 1), (14, 8, 0), (14, 8, -1), (16, 1, 1),
            (14, 1 << 20, 1 << 20), (62, 8, 1), (14, Int.max, 1), (14, 8, Int.max), (60, 8, 1),
        ])
    func refusedParameters(costLog2: Int, blockSize: Int, parallelism: Int) {
        let parameters = ScryptParameters(costLog2: costLog2, blockSize: blockSize, parallelism: parallelism)
        #expect(KeyDerivation.scrypt(password: SecretBytes([1]), salt: [2], parameters, count: 32) == nil)
    }

    @Test(
        "HKDF is the one of RFC 5869",
        arguments: [
            (
                [UInt8](repeating: 0x0b, count: 22), Array(0...0x0c), Array(0xf0...0xf9),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
            ),
            (
                Array(0...0x4f), Array(0x60...0xaf), Array(0xb0...0xff),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8"
                    + "367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
            (
                [UInt8](repeating: 0x0b, count: 22), [], [],
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
            ),
        ] as [([UInt8], [UInt8], [UInt8], String)])
    func hkdf(key: [UInt8], salt: [UInt8], label: [UInt8], expected: String) {
        let derived = KeyDerivation.hkdfSHA256(
            key: SecretBytes(key), salt: salt, label: label, count: expected.utf8.count / 2)
        #expect(hexadecimal(derived.withBytes { Array($0) }) == expected)
    }
}
