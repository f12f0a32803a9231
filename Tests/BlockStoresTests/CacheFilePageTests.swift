// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Foundation
import Testing

@testable import BlockStores

/// The worked example of Docs/Formats/CacheFile.md, made again from the inputs that stand there.
@Suite("The example on the page about the cache file")
struct CacheFilePageTests {
    private let page: String

    init() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "Docs/Formats/CacheFile.md"), encoding: .utf8)
        page = String(text[try #require(text.range(of: "\n## Example\n")).upperBound...])
    }

    /// The bytes of the dump below the line that begins with `title`; those that it does not show are zeros.
    private func dump(_ title: String, count: Int) throws -> [UInt8] {
        let start = try #require(page.range(of: "\n\(title)"), "no dump of \(title)").upperBound
        let fence = try #require(page[start...].range(of: "```\n")).upperBound
        let end = try #require(page[fence...].range(of: "```")).lowerBound
        var bytes = [UInt8](repeating: 0, count: count)
        for line in page[fence..<end].split(separator: "\n") {
            let words = line.split(separator: " ")
            let offset = try #require(words.first.flatMap { Int($0) })
            for (index, byte) in try Self.bytes(words.dropFirst().joined()).enumerated() { bytes[offset + index] = byte }
        }
        return bytes
    }

    /// The bytes of a line of the form "name, two blanks or more, hexadecimal digits".
    private func value(_ name: String) throws -> [UInt8] {
        let line = try #require(page.split(separator: "\n").first { $0.hasPrefix("    \(name)  ") }, "no \(name)")
        return try Self.bytes(String(try #require(line.split(separator: " ").last)))
    }

    private static func bytes(_ digits: String) throws -> [UInt8] {
        let digits = Array(digits)
        return try stride(from: 0, to: digits.count, by: 2).map { index in
            try #require(UInt8(String(digits[index..<min(index + 2, digits.count)]), radix: 16))
        }
    }

    /// The header of the example.
    private func header() throws -> CacheFileHeader {
        let layout = CacheFileLayout(
            blockSize: 16_384, slotCount: 64, spareCount: CacheFileLayout.usualSpareCount(slotCount: 64, sectorsPerBlock: 4),
            zeroEventCount: 8192)
        var header = CacheFileHeader(
            layout: layout, identity: "s3 s3.eu-central-1.amazonaws.com/mybucket/vm1/", isEncrypted: false)
        header.fileID = try value("file id")
        header.keyNonce = try value("key check nonce")
        header.checkKey = try value("key of the checks")
        header.token = 0x1234_abcd
        header.generation = 7
        return header
    }

    /// The record of the example, not sealed.
    private var record: CacheFileRecord {
        CacheFileRecord(block: BlockNumber(5), slot: 3, sector: 2, kind: .user, sequence: 42)
    }
    private let sector = [UInt8](repeating: 0x5a, count: 4096)

    /// What `encode` makes of `count` bytes.
    private func encoded(_ count: Int, _ encode: (UnsafeMutableRawBufferPointer) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        bytes.withUnsafeMutableBytes(encode)
        return bytes
    }

    @Test("the header is the one on the page, and is read as what it was made from")
    func headerBytes() throws {
        let header = try header()
        let bytes = try dump("A page of the header", count: 4096)
        #expect(encoded(4096) { header.encode(into: $0) } == bytes)
        #expect(bytes.withUnsafeBytes { CacheFileHeader($0) } == header)
    }

    @Test("the descriptor is the one on the page, and belongs to its slot only")
    func descriptorBytes() throws {
        let seed = try header().seed
        var descriptor = CacheFileDescriptor(.used, block: BlockNumber(5), base: 9)
        descriptor.mark = 41
        descriptor.version = .tag("d41d8cd98f00b204e9800998ecf8427e")
        let bytes = try dump("The descriptor", count: 128)
        #expect(encoded(128) { descriptor.encode(into: $0, slot: 3, seed: seed) } == bytes)
        #expect(bytes.withUnsafeBytes { CacheFileDescriptor($0, slot: 3, seed: seed) } == descriptor)
        #expect(bytes.withUnsafeBytes { CacheFileDescriptor($0, slot: 4, seed: seed) } == nil)
    }

    @Test("the record of a plain sector is the one on the page")
    func recordBytes() throws {
        let header = try header()
        let seal = CacheFileSeal(key: SecretBytes(header.checkKey), fileID: header.fileID, isEncrypted: false)
        var record = record
        sector.withUnsafeBytes { seal.seal($0, &record, into: UnsafeMutableRawBufferPointer(start: nil, count: 0)) }
        let bytes = try dump("The record", count: 64)
        #expect(encoded(64) { record.encode(into: $0, seed: header.seed) } == bytes)
        #expect(bytes.withUnsafeBytes { CacheFileRecord($0, seed: header.seed) } == record)
    }

    @Test("the entry of the zero log is the one on the page, and belongs to its generation only")
    func zeroEventBytes() throws {
        let seed = try header().seed
        let event = CacheFileZeroEvent(.zeroed, 1000..<1024, 43)
        let bytes = try dump("The entry of the zero log", count: 32)
        #expect(encoded(32) { event.encode(into: $0, generation: 1, seed: seed) } == bytes)
        #expect(bytes.withUnsafeBytes { CacheFileZeroEvent($0, generation: 1, seed: seed) } == event)
        #expect(bytes.withUnsafeBytes { CacheFileZeroEvent($0, generation: 2, seed: seed) } == nil)
    }

    @Test("an encrypted sector and the key check have the bytes on the page, and open")
    func encrypted() throws {
        let header = try header()
        let (key, nonce) = (SecretBytes(try value("key of the file")), try value("nonce of the sector"))
        let seal = CacheFileSeal(key: key, fileID: header.fileID, isEncrypted: true)
        #expect(seal.keyTag(nonce: header.keyNonce) == (try value("key check tag")))
        // The additional data are put together here as the page says.
        let bytes = try dump("The same sector", count: 64)
        let additional = header.fileID + bytes[0..<20]
        var (stored, tag) = (sector, [UInt8](repeating: 0, count: 16))
        stored.withUnsafeMutableBytes { stored in
            tag.withUnsafeMutableBytes { tag in
                nonce.withUnsafeBytes { nonce in
                    additional.withUnsafeBytes {
                        XAES256GCM(key: key).seal(
                            UnsafeRawBufferPointer(stored), nonce: nonce, additionalData: $0, into: stored, tag: tag)
                    }
                }
            }
        }
        #expect(Array(stored[..<16]) == (try value("encrypted, first 16")))
        #expect(Array(bytes[20..<44]) == nonce && Array(bytes[44..<60]) == tag)
        let record = try #require(bytes.withUnsafeBytes { CacheFileRecord($0, seed: header.seed) })
        var opened = [UInt8](repeating: 0, count: 4096)
        let isGood = opened.withUnsafeMutableBytes { opened in stored.withUnsafeBytes { seal.open($0, record, into: opened) } }
        #expect(isGood && opened == sector)
    }

    @Test("numbers that nobody writes are damage, whatever their check says, and stop nothing")
    func impossible() throws {
        let header = try header()
        let (home, end) = (header.layout.zeroLogOffset(0), header.layout.size)
        let areas: [(offset: UInt64, count: UInt32, isGood: Bool)] = [
            (home, 8192, true), (end, 1, true), (home, 8193, false), (home + 4096, 8192, false), (0, 8192, false),
            (end + 1, 8192, false), (.max - 4095, 8192, false), (.max, .max, false),
        ]
        for area in areas {
            var header = header
            (header.zeroArea.offset, header.zeroArea.count) = (area.offset, area.count)
            let page = encoded(4096) { header.encode(into: $0) }
            #expect(page.withUnsafeBytes { CacheFileHeader($0) != nil } == area.isGood, "\(area)")
        }
        let seed = header.seed
        for part in 0..<5 {
            var descriptor = CacheFileDescriptor(.used, block: BlockNumber(rawValue: part == 3 ? .max : 5), base: 9)
            if part == 0 { descriptor.base = .max }
            if part == 1 { descriptor.mark = .max }
            if part == 2 { descriptor.zeroSequence = 1 << 55 }
            let bytes = encoded(128) { descriptor.encode(into: $0, slot: 3, seed: seed) }
            #expect(bytes.withUnsafeBytes { CacheFileDescriptor($0, slot: 3, seed: seed) != nil } == (part == 4))
        }
        var record = record
        record.sequence = 1 << 56 - 1
        #expect(encoded(64) { record.encode(into: $0, seed: seed) }.withUnsafeBytes { CacheFileRecord($0, seed: seed) } == nil)
        let event = CacheFileZeroEvent(.forgotten, 0..<1, .max)
        let entry = encoded(32) { event.encode(into: $0, generation: 1, seed: seed) }
        #expect(entry.withUnsafeBytes { CacheFileZeroEvent($0, generation: 1, seed: seed) } == nil)
    }

    @Test("the parts of the file lie where the page says")
    func layout() throws {
        let layout = try header().layout
        #expect(layout.recordsOffset == 16_384 && layout.zeroLogOffset(0) == 49_152 && layout.zeroLogOffset(1) == 311_296)
        #expect(layout.dataOffset == 573_440 && layout.size == 2_670_592)
        let words = page.replacing("\n", with: " ")
        #expect(words.contains("records at 16384, the zero logs at 49152 and 311296, data at 573440, 2670592 bytes in all"))
    }
}
