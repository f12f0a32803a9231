// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing

@Suite("Digests and MACs")
struct DigestTests {
    @Test("a digest is the one of the published vectors")
    func digests() {
        // RFC 1321 appendix A.5; FIPS 180-2 appendices A and B.
        #expect(hexadecimal(Digest.md5.hash("")) == "d41d8cd98f00b204e9800998ecf8427e")
        #expect(hexadecimal(Digest.md5.hash("message digest")) == "f96b697d7cb7938d525a2f31aaf161d0")
        #expect(hexadecimal(Digest.sha1.hash("abc")) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(
            hexadecimal(Digest.sha256.hash("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            hexadecimal(Digest.sha256.hash("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test("an HMAC is the one of the published vectors", arguments: [1, 2, 3])
    func macs(times: Int) {
        // RFC 2202 cases 2 and 6, RFC 4231 cases 2 and 6; each object is used several times, to show that it starts anew.
        let jefe = Array("Jefe".utf8)
        let long1 = [UInt8](repeating: 0xaa, count: 80)
        let long256 = [UInt8](repeating: 0xaa, count: 131)
        let sha1 = MAC(.sha1, key: jefe)
        let sha256 = MAC(.sha256, key: jefe)
        let sha1Long = MAC(.sha1, key: long1)
        let sha256Long = MAC(.sha256, key: long256)
        for _ in 0..<times {
            let what = "what do ya want for nothing?"
            let larger = "Test Using Larger Than Block-Size Key - Hash Key First"
            #expect(hexadecimal(sha1.authenticate(what)) == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
            #expect(
                hexadecimal(sha256.authenticate(what))
                    == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
            #expect(hexadecimal(sha1Long.authenticate(larger)) == "aa4ae5e15272d00e95705637ce8a3b55ed402112")
            #expect(
                hexadecimal(sha256Long.authenticate(larger))
                    == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
        }
    }

    @Test("an HMAC may have an empty key and an empty text")
    func emptyKey() {
        #expect(
            hexadecimal(MAC(.sha256, key: []).authenticate(""))
                == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
        #expect(hexadecimal(MAC(.sha1, key: []).authenticate([])) == "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d")
    }

    @Test(
        "base64 is padded as RFC 4648 section 10 has it",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func base64Vectors(plain: String, encoded: String) {
        #expect(base64(Array(plain.utf8)) == encoded)
    }

    @Test("base64 and hexadecimal know every digit")
    func everyDigit() {
        #expect(base64([0xff, 0xef, 0xbe, 0xfb]) == "/+++" + "+w==")
        #expect(hexadecimal([0x00, 0x9a, 0xbc, 0xdf]) == "009abcdf")
    }
}
