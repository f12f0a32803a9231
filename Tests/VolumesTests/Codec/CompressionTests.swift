// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import CZlib
import CZstd
import DataPath
import Glibc
import StoreTesting
import Testing
@testable import Volumes

@Suite("Compression")
struct CompressionTests {
    static let plains: [[UInt8]] = {
        var random = SeededGenerator(seed: 11)
        let noise = random.bytes(count: 70_000)
        return [
            [7], [UInt8](repeating: 0, count: 4096), (0..<4096).map { UInt8(truncatingIfNeeded: $0) }, Array(noise[..<4096]),
            noise,
            noise.flatMap { [$0 & 3, $0 >> 6, 0, $0 & 0x11] },
        ]
    }()

    @Test("deflate makes the same bytes as compress2() at every level, also with used memory", arguments: -1...9)
    func sameAsCompress2(level: Int) throws {
        let codec = Deflate(level: level)
        for plain in Self.plains + Self.plains {
            var count = compressBound(uLong(plain.count))
            var expected = [UInt8](repeating: 0, count: Int(count))
            #expect(compress2(&expected, &count, plain, uLong(plain.count), Int32(level)) == Z_OK)
            let made = codec.compressed(plain)
            #expect(made == Array(expected[..<Int(count)]), "level \(level), \(plain.count) bytes")
            #expect(try codec.decompressed(made, count: plain.count) == plain)
        }
    }

    @Test("zstd makes the same bytes as ZSTD_compress(), also with used memory", arguments: [-50, -1, 1, 2, 3, 5, 9, 13, 19])
    func sameAsZstd(level: Int) throws {
        let codec = Zstd(level: level)
        for plain in Self.plains + Self.plains {
            var expected = [UInt8](repeating: 0, count: ZSTD_compressBound(plain.count))
            let count = ZSTD_compress(&expected, expected.count, plain, plain.count, Int32(level))
            let made = codec.compressed(plain)
            #expect(made == Array(expected[..<count]), "level \(level), \(plain.count) bytes")
            #expect(try codec.decompressed(made, count: plain.count) == plain)
        }
    }

    @Test("the levels are those of the libraries")
    func levels() {
        #expect(Compression.Kind.deflate.levels == -1...9)
        #expect(Compression.Kind.zstd.levels == Int(ZSTD_minCLevel())...Int(ZSTD_maxCLevel()))
        for kind in Compression.Kind.allCases { #expect(kind.levels.contains(kind.defaultLevel)) }
    }

    @Test("a stream of fewer or more bytes than a block, cut off anywhere or with something behind it, is damaged")
    func exact() {
        let plain = Self.plains[2]
        for (name, made, decompress) in Self.codecs(of: plain) {
            for count in [0, 1, 4095, 4097, 8192] {
                #expect(throws: CodecError.self, "\(name) as \(count) bytes") { try decompress(made, count) }
            }
            for count in 0..<made.count {
                #expect(throws: CodecError.self, "\(name) cut to \(count)") { try decompress(Array(made[..<count]), plain.count) }
            }
            for tail in [[0], [0x78], made] {
                #expect(throws: CodecError.self, "\(name) with a tail") { try decompress(made + tail, plain.count) }
            }
        }
    }

    @Test("streams of other formats and frames to be skipped are damaged")
    func foreign() {
        let gzip: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let dictionary: [UInt8] = [0x78, 0xbb, 0, 0, 0, 1, 3, 0]
        let skippable: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]
        let plain = Self.plains[2]
        for bytes in [[], [0x78], gzip, dictionary, skippable, skippable + Zstd(level: 3).compressed(plain)] {
            #expect(throws: CodecError.self) { try Deflate(level: -1).decompressed(bytes, count: plain.count) }
            #expect(throws: CodecError.self) { try Zstd(level: 3).decompressed(bytes, count: plain.count) }
        }
    }

    @Test("four GiB of zeros made small are given up at the size of a block, in bounded memory")
    func bombs() {
        let before = peakMemory()
        let deflated = Self.deflateBomb()
        let frame = Self.zstdBomb(blocks: 32_768)
        for count in [4096, 1 << 20] {
            let first = #expect(throws: CodecError.self) { try Deflate(level: -1).decompressed(deflated, count: count) }
            #expect(first?.message.contains("more than \(count) bytes") == true)
            #expect(throws: CodecError.self) { try Zstd(level: 3).decompressed(frame, count: count) }
        }
        // Small enough to pass for a block.
        for (text, body) in [("deflate", Array(deflated[..<4500])), ("zstd", Self.zstdBomb(blocks: 1000))] {
            let fixture = CodecFixture("bomb", blockSize: 4096)
            let error = StoredForm(body: body, contentEncoding: text, user: [:]).failure(in: fixture.codec, as: 3)
            #expect(error?.kind == .damaged, "\(text)")
        }
        // A frame that only says that it is large: 2^40 bytes of window, 2^62 bytes of content.
        for descriptor: [UInt8] in [[0x00, 0xf0], [0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40], [0xc0, 0xf8, 0, 0, 0, 0, 0, 0, 0, 0x40]] {
            let liar: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd] + descriptor + [3, 0, 0, 0]
            #expect(throws: CodecError.self) { try Zstd(level: 3).decompressed(liar, count: 4096) }
        }
        #expect(peakMemory() - before < 256 << 20)
    }

    @Test("a body that is longer than any block can become is refused before it is looked at")
    func tooLong() {
        for fixture in CodecFixture.all where fixture.description != "plain" {
            var form = fixture.object(fixture.block(), of: 3)
            form.body += [UInt8](repeating: 0, count: 2 * CodecFixture.blockSize)
            let error = form.failure(in: fixture.codec, as: 3)
            #expect(error?.kind == .damaged, "\(fixture)")
            #expect(error?.message.contains("more than a block of 512 bytes can become") == true, "\(fixture)")
        }
    }

    @Test("no more idle memory is kept than the limit says")
    func pooled() {
        let pool = WorkspacePool(idleMax: 2) { 1 }
        pool.withWorkspace { _ in pool.withWorkspace { _ in pool.withWorkspace { _ in #expect(pool.idleCount == 0) } } }
        #expect(pool.idleCount == 2)
    }

    private static func codecs(
        of plain: [UInt8]
    ) -> [(name: String, made: [UInt8], decompress: ([UInt8], Int) throws(CodecError) -> [UInt8])] {
        let deflate = Deflate(level: -1)
        let zstd = Zstd(level: 3)
        return [
            (
                "deflate", deflate.compressed(plain),
                { (bytes, count) throws(CodecError) in
                    try deflate.decompressed(bytes, count: count)
                }
            ),
            (
                "zstd", zstd.compressed(plain),
                { (bytes, count) throws(CodecError) in
                    try zstd.decompressed(bytes, count: count)
                }
            ),
        ]
    }

    /// A zlib stream of 4096 times one MiB of zeros, each piece ended by a full flush, which makes all of them equal.
    private static func deflateBomb() -> [UInt8] {
        var stream = z_stream()
        let version = ZLIB_VERSION
        return withUnsafeMutablePointer(to: &stream) { stream in
            #expect(deflateInit_(stream, 9, version, Int32(MemoryLayout<z_stream>.size)) == Z_OK)
            defer { deflateEnd(stream) }
            var pieces: [[UInt8]] = []
            var zeros = [UInt8](repeating: 0, count: 1 << 20)
            for _ in 0..<2 {
                var output = [UInt8](repeating: 0, count: 1 << 16)
                let room = output.count
                let rest = zeros.withUnsafeMutableBufferPointer { zeros in
                    output.withUnsafeMutableBufferPointer { output in
                        stream.pointee.next_in = zeros.baseAddress
                        stream.pointee.avail_in = uInt(zeros.count)
                        stream.pointee.next_out = output.baseAddress
                        stream.pointee.avail_out = uInt(room)
                        #expect(CZlib.deflate(stream, Z_FULL_FLUSH) == Z_OK)
                        return Int(stream.pointee.avail_out)
                    }
                }
                pieces.append(Array(output[..<(room - rest)]))
            }
            return pieces[0] + (1..<4096).flatMap { _ in pieces[1] }
        }
    }

    /// A frame of blocks that each say "128 KiB of zeros" in four bytes.
    private static func zstdBomb(blocks: Int) -> [UInt8] {
        let start: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]  // no size of the content; a window of 128 KiB
        return start
            + (0..<blocks).flatMap { index -> [UInt8] in
                let header = UInt32(128 << 10) << 3 | 1 << 1 | (index + 1 == blocks ? 1 : 0)
                return [
                    UInt8(truncatingIfNeeded: header), UInt8(truncatingIfNeeded: header >> 8),
                    UInt8(truncatingIfNeeded: header >> 16), 0,
                ]
            }
    }
}

/// The most memory that the process ever had, in bytes; 'man 2 getrusage'.
func peakMemory() -> Int {
    var usage = rusage()
    getrusage(RUSAGE_SELF.rawValue, &usage)
    return usage.ru_maxrss << 10
}

extension Deflate {
    func compressed(_ plain: [UInt8]) -> [UInt8] {
        filled(count: Self.sizeMax(of: plain.count)) { target in plain.withUnsafeBytes { compress($0, into: target) } }
    }

    func decompressed(_ bytes: [UInt8], count: Int) throws(CodecError) -> [UInt8] {
        try fenced(count: count) { (target) throws(CodecError) in
            try slice(bytes).withBytes { (source) throws(CodecError) in try decompress(source, into: target) }
        }
    }
}

extension Zstd {
    func compressed(_ plain: [UInt8]) -> [UInt8] {
        filled(count: Self.sizeMax(of: plain.count)) { target in plain.withUnsafeBytes { compress($0, into: target) } }
    }

    func decompressed(_ bytes: [UInt8], count: Int) throws(CodecError) -> [UInt8] {
        try fenced(count: count) { (target) throws(CodecError) in
            try slice(bytes).withBytes { (source) throws(CodecError) in try decompress(source, into: target) }
        }
    }
}

private func filled(count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let used = bytes.withUnsafeMutableBytes { body($0) }
    return Array(bytes[..<used])
}

/// Calls `body` with `count` bytes between fences, and looks at the fences whatever happens.
private func fenced(
    count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(CodecError) -> Void
) throws(CodecError) -> [UInt8] {
    let fence = 64
    var bytes = [UInt8](repeating: 0xa5, count: fence + count + fence)
    var failure: CodecError?
    bytes.withUnsafeMutableBytes { bytes in
        do throws(CodecError) {
            try body(UnsafeMutableRawBufferPointer(rebasing: bytes[fence..<fence + count]))
        } catch {
            failure = error
        }
    }
    let isIntact = bytes[..<fence].allSatisfy { $0 == 0xa5 } && bytes[(fence + count)...].allSatisfy { $0 == 0xa5 }
    #expect(isIntact, "something was written beside the target")
    if let failure { throw failure }
    return Array(bytes[fence..<fence + count])
}
