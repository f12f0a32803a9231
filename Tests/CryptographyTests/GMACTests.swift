// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing

@Suite("GMAC") struct GMACTests {
    private func tag(_ first: [UInt8], _ second: [UInt8], nonce: [UInt8] = .init(repeating: 0, count: 12), key: UInt8 = 0)
        -> [UInt8]
    {
        let gmac = GMAC(key: SecretBytes([UInt8](repeating: key, count: 32)))
        var tag = [UInt8](repeating: 0, count: GMAC.tagCount)
        tag.withUnsafeMutableBytes { tag in
            first.withUnsafeBytes { first in
                second.withUnsafeBytes { second in
                    nonce.withUnsafeBytes { gmac.authenticate(first, second, nonce: $0, into: tag) }
                }
            }
        }
        return tag
    }

    /// McGrew, Viega: "The Galois/Counter Mode of Operation", test case 13: AES-256, no text, no additional data.
    @Test("the tag of no text is the published one")
    func published() {
        let expected: [UInt8] = [
            0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9, 0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b,
        ]
        #expect(tag([], []) == expected)
    }

    @Test("it depends on every text, on the nonce and on the key, and not on where the texts are cut")
    func depends() {
        let whole = tag([1, 2, 3, 4, 5], [])
        #expect(tag([1, 2], [3, 4, 5]) == whole && tag([], [1, 2, 3, 4, 5]) == whole)
        #expect(tag([1, 2, 3, 4, 6], []) != whole && tag([1, 2, 3, 4], []) != whole)
        #expect(tag([1, 2, 3, 4, 5], [], nonce: [UInt8](repeating: 1, count: 12)) != whole)
        #expect(tag([1, 2, 3, 4, 5], [], key: 1) != whole)
    }

    @Test("one bit of a whole sector changes the tag")
    func largeText() {
        let text = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(tag(Array(text[..<20]), Array(text[20...])) == tag(text, []))
        var changed = text
        changed[4095] ^= 1
        #expect(tag(changed, []) != tag(text, []))
    }
}
