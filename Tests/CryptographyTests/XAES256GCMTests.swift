// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing

@Suite("XAES-256-GCM")
struct XAES256GCMTests {
    /// A sealed text and all that is needed to open it.
    private struct Sealed {
        var nonce: [UInt8]
        var additionalData: [UInt8]
        var encrypted: [UInt8]
        var tag: [UInt8]

        init(_ plain: [UInt8], nonce: [UInt8], additionalData: [UInt8], with cipher: XAES256GCM) {
            self.nonce = nonce
            self.additionalData = additionalData
            encrypted = plain
            tag = [UInt8](repeating: 0, count: XAES256GCM.tagCount)
            encrypted.withUnsafeMutableBytes { text in
                tag.withUnsafeMutableBytes { tag in
                    nonce.withUnsafeBytes { nonce in
                        additionalData.withUnsafeBytes { cipher.seal(text, nonce: nonce, additionalData: $0, tag: tag) }
                    }
                }
            }
        }

        /// Opens into `target`.
        func open(with cipher: XAES256GCM, into target: inout [UInt8]) -> Bool {
            target.withUnsafeMutableBytes { target in encrypted.withUnsafeBytes { open(with: cipher, $0, into: target) } }
        }

        /// Opens `text`, with everything else as it is here, into `target`.
        func open(
            with cipher: XAES256GCM, _ text: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
        ) -> Bool {
            nonce.withUnsafeBytes { nonce in
                additionalData.withUnsafeBytes { additionalData in
                    tag.withUnsafeBytes {
                        cipher.open(text, nonce: nonce, additionalData: additionalData, tag: $0, into: target)
                    }
                }
            }
        }
    }

    private let nonce = Array("ABCDEFGHIJKLMNOPQRSTUVWX".utf8)

    @Test(
        "a sealed text is the one of the published vectors, with either top bit of the zero block",
        arguments: [
            (1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
        ] as [(UInt8, String, String)])
    func vectors(keyByte: UInt8, additionalData: String, sealed: String) {
        let cipher = XAES256GCM(key: SecretBytes([UInt8](repeating: keyByte, count: 32)))
        let plain = Array("XAES-256-GCM".utf8)
        for _ in 0..<3 {
            let made = Sealed(plain, nonce: nonce, additionalData: Array(additionalData.utf8), with: cipher)
            #expect(hexadecimal(made.encrypted + made.tag) == sealed)
            var target = [UInt8](repeating: 0, count: plain.count)
            #expect(made.open(with: cipher, into: &target))
            #expect(target == plain)
        }
    }

    @Test("500 texts of any length, sealed one after the other, are those of another implementation")
    func manyTexts() {
        // The form of the accumulated test of C2SP, over a stream of SHA-256 of the decimal numbers from 0 on. The expected digest
        // was computed with Python's `cryptography` (its CMAC and its AES-GCM), which passes the test of C2SP itself.
        var stream: [UInt8] = []
        var number = 0
        func take(_ count: Int) -> [UInt8] {
            while stream.count < count {
                stream += Digest.sha256.hash("\(number)")
                number += 1
            }
            defer { stream.removeFirst(count) }
            return Array(stream.prefix(count))
        }
        var all: [UInt8] = []
        for _ in 0..<500 {
            let cipher = XAES256GCM(key: SecretBytes(take(32)))
            let nonce = take(24)
            let plain = take(Int(take(1)[0]))
            let additionalData = take(Int(take(1)[0]))
            let sealed = Sealed(plain, nonce: nonce, additionalData: additionalData, with: cipher)
            var target = [UInt8](repeating: 0, count: plain.count)
            #expect(sealed.open(with: cipher, into: &target) && target == plain)
            all += sealed.encrypted + sealed.tag
        }
        #expect(hexadecimal(Digest.sha256.hash(all)) == "2cc204be6c0667cf8a61181c65eaf417693164feee657c495209e1346a5e297d")
    }

    @Test("texts of many lengths come back, in place as elsewhere", arguments: [0, 1, 15, 16, 17, 4096, 131_072, 131_073])
    func roundTrips(count: Int) {
        let seed = UInt64.random(in: .min ... .max)
        var random = Random(seed: seed)
        let cipher = XAES256GCM(key: SecretBytes(random.bytes(32)))
        let plain = random.bytes(count)
        let sealed = Sealed(plain, nonce: random.bytes(24), additionalData: random.bytes(count % 50), with: cipher)
        var target = [UInt8](repeating: 0xee, count: count + 5)
        #expect(sealed.open(with: cipher, into: &target), "seed \(seed)")
        #expect(target == plain + [UInt8](repeating: 0xee, count: 5), "seed \(seed)")
        var inPlace = sealed.encrypted
        let isOpen = inPlace.withUnsafeMutableBytes { sealed.open(with: cipher, UnsafeRawBufferPointer($0), into: $0) }
        #expect(isOpen && inPlace == plain, "seed \(seed)")
    }

    @Test("no flipped bit of text, tag, nonce or additional data is authentic, and nothing of the text is left")
    func tampering() {
        var random = Random(seed: 42)
        let cipher = XAES256GCM(key: SecretBytes(random.bytes(32)))
        let sealed = Sealed(random.bytes(37), nonce: nonce, additionalData: random.bytes(20), with: cipher)
        let fields: [WritableKeyPath<Sealed, [UInt8]>] = [\.encrypted, \.tag, \.nonce, \.additionalData]
        for field in fields {
            for bit in 0..<sealed[keyPath: field].count * 8 {
                var changed = sealed
                changed[keyPath: field][bit / 8] ^= 1 << (bit % 8)
                #expect(isRefused(changed, by: cipher), "bit \(bit)")
            }
        }
        #expect(!isRefused(sealed, by: cipher), "the unchanged text after so many refused ones")
    }

    @Test("a shorter or longer text, other additional data, or another key is not authentic")
    func otherTexts() {
        var random = Random(seed: 43)
        let key = random.bytes(32)
        let cipher = XAES256GCM(key: SecretBytes(key))
        let sealed = Sealed(random.bytes(48), nonce: nonce, additionalData: [1, 2], with: cipher)
        var changed = sealed
        changed.encrypted.removeLast()
        #expect(isRefused(changed, by: cipher))
        changed.encrypted = []
        #expect(isRefused(changed, by: cipher))
        changed.encrypted = sealed.encrypted + [0]
        #expect(isRefused(changed, by: cipher))
        changed = sealed
        changed.additionalData = []
        #expect(isRefused(changed, by: cipher))
        changed.additionalData = [1, 2, 0]
        #expect(isRefused(changed, by: cipher))
        for bit in 0..<256 {
            var other = key
            other[bit / 8] ^= 1 << (bit % 8)
            #expect(isRefused(sealed, by: XAES256GCM(key: SecretBytes(other))), "bit \(bit)")
        }
    }

    /// True if the text is refused, the target wiped, and the memory behind it untouched; in place too.
    private func isRefused(_ sealed: Sealed, by cipher: XAES256GCM) -> Bool {
        let count = sealed.encrypted.count
        var target = [UInt8](repeating: 0xee, count: count + 4)
        let isOpen = sealed.open(with: cipher, into: &target)
        var inPlace = sealed.encrypted
        let isOpenInPlace = inPlace.withUnsafeMutableBytes { sealed.open(with: cipher, UnsafeRawBufferPointer($0), into: $0) }
        return !isOpen && !isOpenInPlace
            && target == [UInt8](repeating: 0, count: count) + [UInt8](repeating: 0xee, count: 4)
            && inPlace == [UInt8](repeating: 0, count: count)
    }

    @Test("one cipher serves many tasks at once, sealing and opening")
    func parallel() async {
        let key = SecretBytes([UInt8](repeating: 5, count: 32))
        let cipher = XAES256GCM(key: key)
        let isRight = await withTaskGroup(of: Bool.self) { group in
            for task in 0..<16 {
                group.addTask {
                    var random = Random(seed: UInt64(task))
                    let plain = random.bytes(1000 + task)
                    let nonce = random.bytes(24)
                    let expected = Sealed(plain, nonce: nonce, additionalData: nonce, with: XAES256GCM(key: key))
                    return (0..<200).allSatisfy { _ in
                        let sealed = Sealed(plain, nonce: nonce, additionalData: nonce, with: cipher)
                        var target = [UInt8](repeating: 0, count: plain.count)
                        return sealed.encrypted == expected.encrypted && sealed.tag == expected.tag
                            && sealed.open(with: cipher, into: &target) && target == plain
                    }
                }
            }
            return await group.reduce(true) { $0 && $1 }
        }
        #expect(isRight)
    }
}
