// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Logging
import Synchronization
import Testing

@testable import BlockStores

@Suite("Opening a cache file") struct CacheFileOpeningTests {
    @Test("a new file is private, has its room reserved, and is found again", arguments: [false, true])
    func makes(isEncrypted: Bool) async throws {
        let folder = try CacheFolder()
        let options = CacheFolder.options(key: isEncrypted ? CacheFolder.key : nil)
        do {
            let file = try folder.open(options)
            try file.record(token: 77)
            try file.assign(CacheSlot(3), to: BlockNumber(5))
            try await file.put(9, 1..<3, 5, 3)
            try await file.commit()
        }
        var status = stat()
        #expect(stat(folder.file, &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(UInt64(status.st_size) == CacheFile.usualLayout(options, 64).size)
        #expect(try CacheFile.inspect(at: folder.file)?.token == 77)
        #expect(try CacheFile.inspect(at: folder.file)?.dirtyBlockCount == 1)
        let file = try folder.open(options)
        #expect(file.token == 77)
        let (blocks, _) = try file.restore()
        #expect(blocks.map(\.block) == [BlockNumber(5)] && blocks.first?.dirty == [0b110])
        #expect(try file.byte(2, 5, 3) == 9)
        #expect(try folder.names() == ["cache"])
    }

    @Test("a file that is in use is refused")
    func inUse() throws {
        let folder = try CacheFolder()
        let file = try folder.open()
        let refusal = #expect(throws: CacheFileError.self) { _ = try folder.open() }
        #expect(refusal?.code == .inUse && refusal?.message.contains("wait until it has ended") == true)
        #expect(cacheFileCode { _ = try CacheFile.inspect(at: folder.file) } == .inUse)
        _ = file.slotCount
    }

    @Test("what does not fit is refused in one line that names the cure, and is not written to")
    func mismatches() throws {
        let folder = try CacheFolder()
        _ = try folder.open()
        let before = try folder.bytes()
        let cases: [(CacheFileOptions, CacheFileError.Code)] = [
            (CacheFolder.options(identity: "bucket \"c\""), .otherVolume),
            (CacheFolder.options(blockSize: 4096), .otherBlockSize),
            (CacheFolder.options(key: CacheFolder.key), .otherEncryption),
        ]
        for (options, code) in cases {
            do {
                _ = try folder.open(options)
                Issue.record("opened in spite of \(code)")
            } catch let error as CacheFileError {
                #expect(error.code == code && error.message.contains(folder.file) && !error.message.contains("\n"))
                // The same volume at another address is another one here, too.
                #expect((code == .otherVolume) == error.message.contains("--baseURL or --region"))
            }
        }
        #expect(try folder.bytes() == before)
        #expect(try CacheFile.inspect(at: folder.path + "/none") == nil)
    }

    @Test("a wrong key is one clear error")
    func wrongKey() throws {
        let folder = try CacheFolder()
        _ = try folder.open(CacheFolder.options(key: CacheFolder.key))
        #expect(cacheFileCode { _ = try folder.open(CacheFolder.options(key: CacheFolder.otherKey)) } == .wrongKey)
        #expect(cacheFileCode { _ = try folder.open(CacheFolder.options()) } == .otherEncryption)
        _ = try folder.open(CacheFolder.options(key: CacheFolder.key))
    }

    /// The headers of the C program: with and without a token, of either byte order.
    static let foreign: [[UInt8]] = [
        [0x7b, 0xf1, 0x96, 0xe4, 0x40, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0x10, 0, 0],
        [0x7b, 0xf1, 0x96, 0xe4, 0x20, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0x10, 0, 0],
        [0xe4, 0x96, 0xf1, 0x7b, 0, 0, 0, 0x40, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0x10, 0],
        [0xe4, 0x96, 0xf1, 0x7b, 0, 0, 0, 0x20, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0x10, 0],
    ]

    @Test("a file of the C program is refused with advice, or kept under another name", arguments: foreign)
    func foreignFile(head: [UInt8]) throws {
        let folder = try CacheFolder()
        let bytes = head + [UInt8](repeating: 0, count: 300)
        try folder.put(bytes)
        let refusal = #expect(throws: CacheFileError.self) { _ = try folder.open() }
        #expect(refusal?.code == .foreign && refusal?.message.contains("--blockCacheRecoverDirtyBlocks") == true)
        #expect(refusal?.message.contains("use --force") == true)
        // Where --force would not rename it, it is no advice.
        let look = #expect(throws: CacheFileError.self) { _ = try CacheFile.inspect(at: folder.file) }
        #expect(look?.code == .foreign && look?.message.contains("--force") == false)
        #expect(try folder.bytes() == bytes)
        var options = CacheFolder.options()
        options.isForced = true
        _ = try folder.open(options)
        #expect(try folder.names() == ["cache", "cache.old-1"])
        let kept = try Data(contentsOf: URL(fileURLWithPath: folder.file + ".old-1"))
        #expect([UInt8](kept) == bytes)
        #expect(try CacheFile.setAside(folder.file) == folder.file + ".old-2")
    }

    @Test("what is no cache file is refused, force or not, and stays")
    func strangers() throws {
        let folder = try CacheFolder()
        var forced = CacheFolder.options()
        forced.isForced = true
        for bytes in [[], Array("my only copy".utf8), [UInt8](repeating: 0, count: 9000)] as [[UInt8]] {
            try folder.put(bytes)
            #expect(cacheFileCode { _ = try folder.open(forced) } == .notACacheFile)
            #expect(try folder.bytes() == bytes)
        }
        try FileManager.default.removeItem(atPath: folder.file)
        try FileManager.default.createSymbolicLink(atPath: folder.file, withDestinationPath: "/dev/null")
        #expect(cacheFileCode { _ = try folder.open() } == .notACacheFile)
        #expect(cacheFileCode { _ = try CacheFile.open(at: folder.path, forced, logger: quietLogger) } == .notACacheFile)
    }

    @Test("a file that cannot be made is called by the name that the user gave, and what is in its way by its own")
    func cannotBeMade() throws {
        let folder = try CacheFolder()
        let path = folder.path + "/a/b"
        let refusal = #expect(throws: CacheFileError.self) {
            _ = try CacheFile.open(at: path, CacheFolder.options(), logger: quietLogger)
        }
        #expect(refusal?.code == .io)
        #expect(
            refusal?.message
                == "cannot use the cache file \"\(path)\": it cannot be made: no such file or directory; check its directory")
        try Data("my only copy".utf8).write(to: URL(fileURLWithPath: folder.file + ".new"))
        let obstacle = #expect(throws: CacheFileError.self) { _ = try folder.open() }
        #expect(obstacle?.message.hasPrefix("cannot use the cache file \"\(folder.file)\": \"\(folder.file).new\" is in") == true)
    }

    @Test("a newer format, a damaged header and a damaged descriptor are told apart")
    func damage() throws {
        let folder = try CacheFolder()
        _ = try folder.open()
        let good = try folder.bytes()
        func code(_ change: (inout [UInt8]) -> Void) throws -> CacheFileError.Code? {
            var bytes = good
            change(&bytes)
            try folder.put(bytes)
            return cacheFileCode { _ = try folder.open() }
        }
        #expect(try code { for page in [0, 4096] { $0[page + 8] = 2 } } == .otherVersion)
        #expect(try code { for page in [0, 4096] { $0[page + 200] ^= 1 } } == .damaged)
        #expect(try code { $0[8192 + 128 * 5 + 3] = 1 } == .damaged)
        #expect(try code { $0.removeLast($0.count - 10000) } == .damaged)
        #expect(try code { $0.removeLast() } == .damaged, "a part of the data is missing")
        #expect(try code { $0[200] ^= 1 } == nil, "one good header page is enough")
    }

    @Test("writes whose bytes are not there are dropped, and counted")
    func dropped() async throws {
        let folder = try CacheFolder()
        do {
            let file = try folder.open()
            for slot in 0..<3 {
                try file.assign(CacheSlot(slot), to: BlockNumber(slot))
                try await file.put(7, 0..<2, slot, slot)
            }
            try file.setVersion(.tag("v"), of: BlockNumber(2), in: CacheSlot(2), upTo: file.mark)
        }
        var bytes = try folder.bytes()
        let layout = CacheFile.usualLayout(CacheFolder.options(), 64)
        for location in [0, 1, 5, 8] { bytes[Int(layout.dataOffset(location)) + 9] ^= 1 }
        try folder.put(bytes)
        let file = try folder.open()
        #expect(file.scan.withLock { $0?.droppedCount } == 3, "the store has the last one")
        #expect(file.contents.dirtyBlockCount == 1)
    }

    @Test("a file that is made anew since it was distrusted keeps its token")
    func tokenOfADistrustedFile() throws {
        let folder = try CacheFolder()
        do {
            let file = try folder.open()
            try file.record(token: 42)
            file.distrust(BlockStoreError(.io, "an fdatasync failed"))
        }
        #expect(try CacheFile.inspect(at: folder.file)?.isDistrusted == true)
        let file = try folder.open()
        #expect(file.isTrusted && file.token == 42)
    }

    @Test("a change of its size keeps everything that has room", arguments: [false, true])
    func resizes(isEncrypted: Bool) async throws {
        let folder = try CacheFolder()
        let key = isEncrypted ? CacheFolder.key : nil
        do {
            let file = try folder.open(CacheFolder.options(slotCount: 100, key: key))
            try file.record(token: 99)
            for number in 0..<100 {
                try file.assign(CacheSlot(number), to: BlockNumber(number))
                try await file.put(UInt8(number), 0..<4, number, number, .store)
                try file.setVersion(.tag("\(number)"), of: BlockNumber(number), in: CacheSlot(number), upTo: file.mark)
                if number >= 90 { try await file.put(UInt8(number + 100), 1..<2, number, number) }
            }
            try file.recordZeros(BlockSet(blocks: [BlockNumber(500)]))
        }
        for (slotCount, kept) in [(200, 100), (70, 70), (10, 10)] {
            let file = try folder.open(CacheFolder.options(slotCount: slotCount, key: key))
            #expect(file.slotCount == slotCount && file.token == 99)
            let (blocks, zeros) = try file.restore()
            #expect(blocks.count == kept && Array(zeros.blocks) == [BlockNumber(500)])
            #expect(blocks.count { $0.dirty != [0] } == 10)
            for block in blocks {
                let number = Int(block.block.rawValue)
                let slot = Int(block.slot.rawValue)
                #expect(try file.byte(0, number, slot) == UInt8(number))
                #expect(try file.byte(1, number, slot) == UInt8(number >= 90 ? number + 100 : number))
                #expect(file.version(of: block.block, in: block.slot) == .tag("\(number)"))
            }
        }
        #expect(cacheFileCode { _ = try folder.open(CacheFolder.options(slotCount: 9, key: key)) } == .tooSmall)
        #expect(try CacheFile.inspect(at: folder.file)?.dirtyBlockCount == 10)
        #expect(try folder.names() == ["cache"])
    }

    @Test("a leftover of a start that was cut short is removed, another file in its place is not")
    func leftovers() throws {
        let folder = try CacheFolder()
        let temporary = URL(fileURLWithPath: folder.file + ".new")
        try Data(repeating: 0, count: 5000).write(to: temporary)
        do { _ = try folder.open() }
        #expect(try folder.names() == ["cache"])
        try FileManager.default.removeItem(atPath: folder.file)
        try Data("my only copy".utf8).write(to: temporary)
        #expect(cacheFileCode { _ = try folder.open() } == .io)
        #expect(try folder.names() == ["cache.new"])
    }
}
