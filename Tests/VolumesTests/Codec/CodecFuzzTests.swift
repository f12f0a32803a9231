// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import Glibc
import StoreTesting
import Testing
@testable import Volumes

/// Mutated and random bytes into everything that decodes. `S3BACKER_FUZZ_SECONDS=n` goes on with fresh seeds for n seconds;
/// `S3BACKER_FUZZ_SEED=n` repeats one. See Docs/Testing.md "Fuzzing".
@Suite("Fuzzed codecs", .serialized)
struct CodecFuzzTests {
    @Test("mutated objects never crash the decoders, never become other data, and cost no more memory than a block")
    func fuzz() throws {
        if let seed = Self.number("S3BACKER_FUZZ_SEED") {
            try run(seed)
        } else if let seconds = Self.number("S3BACKER_FUZZ_SECONDS") {
            // Fresh seeds are what is wanted here, and time is what is given: the one look at a clock.
            let end = ContinuousClock.now + .seconds(seconds)
            var seed = UInt64.random(in: 0...UInt64.max / 2)
            var before: Int?
            var count = 0
            while ContinuousClock.now < end {
                try run(seed)
                // The first seeds fill pools and allocators.
                if count == 20 { before = peakMemory() }
                seed += 1
                count += 1
            }
            if let before {
                let grown = peakMemory() - before
                print("fuzz: \(count) seeds; the peak of memory grew by \(grown >> 20) MiB")
                #expect(grown < 64 << 20, "the peak of memory grew by \(grown) bytes")
            }
        } else {
            for seed: UInt64 in 1...4 { try run(seed) }
        }
    }

    private func run(_ seed: UInt64) throws {
        print("fuzz: S3BACKER_FUZZ_SEED=\(seed)")
        var fuzzer = CodecFuzzer(seed: seed)
        for _ in 0..<CodecFuzzer.roundsPerSeed { fuzzer.round() }
        // A generator that spoils everything, or nothing, would test nothing.
        #expect(fuzzer.refused > 1000 && fuzzer.accepted > 10, "seed \(seed): \(fuzzer.refused) refused, \(fuzzer.accepted) not")
    }

    private static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }
}

/// One seed's worth of spoilt objects.
private struct CodecFuzzer {
    static let roundsPerSeed = 6000
    private static let blockSize = CodecFixture.blockSize

    private var random: SeededGenerator
    private let seed: UInt64
    private let plain: [UInt8]
    private let block: BlockNumber
    private let forms: [StoredForm]
    private let streams: [[UInt8]]
    private let deflate = Deflate(level: -1)
    private let zstd = Zstd(level: 3)
    /// How many rounds ended in an error.
    private(set) var refused = 0
    /// How many gave a block.
    private(set) var accepted = 0

    init(seed: UInt64) {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        let number = BlockNumber(rawValue: UInt32.random(in: 0..<1000, using: &random))
        let noise = random.bytes(count: Self.blockSize)
        let plains = [
            noise, noise.map { $0 & 3 }, [UInt8](repeating: 0, count: Self.blockSize),
            (0..<Self.blockSize).map { $0 % 37 == 0 ? noise[$0] : UInt8(truncatingIfNeeded: $0 % 11) },
        ]
        let plain = plains[Int.random(in: 0..<plains.count, using: &random)]
        self.plain = plain
        block = number
        forms = CodecFixture.all.map { $0.object(plain, of: number) }
        let long = noise + noise.map { $0 & 1 } + noise
        streams =
            [-1, 0, 1, 9].flatMap { level in (plains + [long]).map { Deflate(level: level).compressed($0) } }
            + [-5, 1, 3, 19].flatMap { level in (plains + [long]).map { Zstd(level: level).compressed($0) } }
    }

    /// Spoils one thing, and decodes it.
    mutating func round() {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: parse()
        case 1, 2: decompress()
        case 3, 4: decodeAuthentic()
        default: decode()
        }
    }

    private mutating func parse() {
        var text = Array("deflate, encrypt-AES-128-CBC".utf8)
        mutate(&text)
        let encoding = ContentEncoding(parsing: String(decoding: text, as: UTF8.self))
        let isSound = encoding.elements.allSatisfy { !$0.isEmpty && !$0.utf8.contains { $0 == 0x20 || $0 == 0x2c || $0 == 0x09 } }
        #expect(isSound && ContentEncoding(parsing: encoding.text) == encoding, "seed \(seed)")
        #expect(encoding.canonical.firstUnreadable == nil || encoding.firstUnreadable != nil, "seed \(seed)")
    }

    /// The decompressors alone, behind fences.
    private mutating func decompress() {
        var stream = anyStream()
        mutate(&stream)
        let isDeflate = Bool.random(using: &random)
        do throws(CodecError) {
            let bytes =
                isDeflate
                ? try deflate.decompressed(stream, count: Self.blockSize) : try zstd.decompressed(stream, count: Self.blockSize)
            accepted += 1
            #expect(bytes.count == Self.blockSize, "seed \(seed)")
        } catch {
            refused += 1
            #expect(error.kind == .damaged, "seed \(seed)")
        }
    }

    /// Spoilt streams under a good HMAC or tag, so that they reach the decompressors through the whole stack.
    private mutating func decodeAuthentic() {
        let index = Int.random(in: 0..<CodecFixture.encrypted.count, using: &random)
        let fixture = CodecFixture.encrypted[index]
        guard let encryption = fixture.encryption else { return }
        var stream = anyStream()
        mutate(&stream)
        let name = Bool.random(using: &random) ? "deflate" : "zstd"
        let encoding = ContentEncoding(elements: [name, encryption.encodingName])
        var body = [UInt8](repeating: 0, count: encryption.headCount + stream.count + encryption.tailCountMax)
        let (count, user) = body.withUnsafeMutableBytes { target in
            stream.withUnsafeBytes { encryption.encrypt($0, into: target, of: block, encoding) }
        }
        check(
            StoredForm(body: Array(body[..<count]), contentEncoding: encoding.text, user: user), fixture, mayBeOther: true)
    }

    /// Objects of every form, spoilt in bytes, header or metadata.
    private mutating func decode() {
        let index = Int.random(in: 0..<forms.count, using: &random)
        var form = forms[index]
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            var text = Array((form.contentEncoding ?? "deflate").utf8)
            mutate(&text)
            form.contentEncoding = String(decoding: text, as: UTF8.self)
        case 1:
            var text = Array((form.user["s3backer-hmac"] ?? "").utf8)
            mutate(&text)
            form.user["s3backer-hmac"] = String(decoding: text, as: UTF8.self)
        case 2: form = forms[Int.random(in: 0..<forms.count, using: &random)]
        case 3: form.body = random.bytes(count: Int.random(in: 0..<2 * Self.blockSize, using: &random))
        default: mutate(&form.body)
        }
        let fixture = CodecFixture.all[index]
        check(form, fixture, mayBeOther: fixture.encryption == nil)
    }

    private mutating func check(_ form: StoredForm, _ fixture: CodecFixture, mayBeOther: Bool) {
        do throws(CodecError) {
            let bytes = try form.decoded(by: fixture.codec, as: block)
            accepted += 1
            #expect(bytes.count == Self.blockSize, "seed \(seed)")
            #expect(mayBeOther || bytes == plain, "seed \(seed): \(fixture) gave other data")
        } catch {
            refused += 1
            #expect(!error.message.isEmpty && error.message.utf8.count < 500, "seed \(seed)")
        }
    }

    private mutating func anyStream() -> [UInt8] {
        Int.random(in: 0..<16, using: &random) == 0
            ? random.bytes(count: Int.random(in: 0..<100, using: &random))
            : streams[Int.random(in: 0..<streams.count, using: &random)]
    }

    /// Spoils bytes in up to four places; sometimes in none.
    private mutating func mutate(_ bytes: inout [UInt8]) {
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let at = Int.random(in: 0...bytes.count, using: &random)
            let length = Int.random(in: 0...min(24, bytes.count - at), using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0 where at < bytes.count: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1 where at < bytes.count: bytes[at] = UInt8.random(in: 0...255, using: &random)
            case 2 where at < bytes.count: bytes[at] = [0, 1, 0x7f, 0x80, 0xff][Int.random(in: 0..<5, using: &random)]
            case 3: bytes.removeSubrange(at..<at + length)
            case 4: bytes.insert(contentsOf: random.bytes(count: length), at: at)
            case 5: bytes.insert(contentsOf: bytes[at..<at + length], at: Int.random(in: 0...bytes.count, using: &random))
            case 6: bytes.removeSubrange(at...)
            default:
                // Near the start stand the sizes and the kinds of blocks.
                let near = Int.random(in: 0..<16, using: &random)
                if near < bytes.count { bytes[near] = UInt8.random(in: 0...255, using: &random) }
            }
        }
    }
}
