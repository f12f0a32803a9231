// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing

@Suite("MACs of several parts, and from many tasks")
struct MACTests {
    @Test("an HMAC of parts is the one of the whole", arguments: Digest.allCases)
    func parts(digest: Digest) {
        let text = Array("what do ya want for nothing?".utf8)
        let mac = MAC(digest, key: SecretBytes(Array("Jefe".utf8)))
        let expected = MAC(digest, key: Array("Jefe".utf8)).authenticate(text)
        text.withUnsafeBytes { text in
            for first in 0...text.count {
                let head = UnsafeRawBufferPointer(rebasing: text[..<first])
                let tail = UnsafeRawBufferPointer(rebasing: text[first...])
                let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
                #expect(mac.authenticate(head, nothing, tail) == expected)
                var target = [UInt8](repeating: 0, count: digest.count)
                target.withUnsafeMutableBytes { mac.authenticate(head, tail, into: $0) }
                #expect(target == expected)
            }
        }
    }

    @Test("an HMAC from a secret key is the one of the published vectors")
    func secretKey() {
        // RFC 2202 case 2; an empty key as in RFC 2104.
        let text = "what do ya want for nothing?"
        #expect(
            hexadecimal(MAC(.sha1, key: SecretBytes(Array("Jefe".utf8))).authenticate(text))
                == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
        #expect(
            hexadecimal(MAC(.sha1, key: SecretBytes([])).authenticate("")) == "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d")
    }

    @Test("one MAC serves many tasks at once")
    func parallel() async {
        let mac = MAC(.sha1, key: Array("key".utf8))
        let isRight = await withTaskGroup(of: Bool.self) { group in
            for task in 0..<16 {
                group.addTask {
                    let text = [UInt8](repeating: UInt8(task), count: 500 + task)
                    let expected = MAC(.sha1, key: Array("key".utf8)).authenticate(text)
                    return (0..<500).allSatisfy { _ in mac.authenticate(text) == expected }
                }
            }
            return await group.reduce(true) { $0 && $1 }
        }
        #expect(isRight)
    }
}
