// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Foundation
import Logging

@testable import BlockStores

/// Failures are part of the tests; nobody needs to read of them.
let quietLogger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

/// A folder for cache files that goes with the fixture.
final class CacheFolder: Sendable {
    let path: String

    init() throws {
        var template = Array((NSTemporaryDirectory() + "/s3backer-cache-XXXXXX").utf8CString)
        let isMade = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress.unsafelyUnwrapped) != nil }
        guard isMade else { throw CacheFileError(.io, "no folder for the test") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The file that the tests use.
    var file: String { path + "/cache" }

    static let key = SecretBytes((0..<32).map { UInt8($0) })
    static let otherKey = SecretBytes((0..<32).map { UInt8($0 + 1) })

    static func options(
        slotCount: Int = 64, blockSize: Int = 16384, identity: String = "bucket \"b\" at example.com", key: SecretBytes? = nil
    ) -> CacheFileOptions {
        CacheFileOptions(identity: identity, blockSize: blockSize, slotCount: slotCount, key: key)
    }

    func open(_ options: CacheFileOptions = CacheFolder.options()) throws -> CacheFile {
        try CacheFile.open(at: file, options, logger: quietLogger)
    }

    func bytes() throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: file))) }
    func put(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: file)) }
    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

extension CacheSlot {
    init(_ number: Int) { self.init(rawValue: UInt32(number)) }
}

extension CacheFile {
    /// Writes whole sectors.
    func put(_ byte: UInt8, _ sectors: Range<Int>, _ block: Int, _ slot: Int, _ origin: CacheOrigin = .user) async throws {
        let count = sectors.count * layout.sectorSize
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
        defer { buffer.deallocate() }
        buffer.initializeMemory(as: UInt8.self, repeating: byte)
        let start = sectors.lowerBound * layout.sectorSize
        try await write(
            UnsafeRawBufferPointer(buffer), at: start..<start + count, of: BlockNumber(block), in: CacheSlot(slot), origin)
    }

    /// Reads bytes.
    func get(_ range: Range<Int>, _ block: Int, _ slot: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: range.count)
        try bytes.withUnsafeMutableBytes { try read(range, of: BlockNumber(block), in: CacheSlot(slot), into: $0) }
        return bytes
    }

    /// The byte that a sector is full of.
    func byte(_ sector: Int, _ block: Int, _ slot: Int) throws -> UInt8? {
        let bytes = try get(sector * layout.sectorSize..<(sector + 1) * layout.sectorSize, block, slot)
        return bytes.allSatisfy { $0 == bytes[0] } ? bytes[0] : nil
    }
}

/// The code of the error that `body` throws.
func cacheFileCode(_ body: () throws -> Void) -> CacheFileError.Code? {
    do { try body() } catch let error as CacheFileError { return error.code } catch { return nil }
    return nil
}

/// The code of the error of a storage that `body` throws.
func storageCode(_ body: () throws -> Void) -> BlockStoreError.Code? {
    do { try body() } catch let error as BlockStoreError { return error.code } catch { return nil }
    return nil
}

extension CacheFileRecorder {
    /// Makes a cache file with blocks of four sectors.
    static func make(
        isEncrypted: Bool = false, slotCount: Int = 4, spareCount: Int = 4, zeroEventCount: Int = 16
    ) throws -> (file: CacheFile, disk: CacheFileRecorder) {
        var form = CacheFileWorld.Form(isEncrypted: isEncrypted)
        form.slotCount = slotCount
        let disk = CacheFileRecorder()
        let layout = CacheFileLayout(
            blockSize: 16384, slotCount: slotCount, spareCount: spareCount, zeroEventCount: zeroEventCount)
        _ = try CacheFile.format(disk, layout, CacheFileWorld.options(form), token: 0)
        return (try CacheFileWorld.open(disk, form), disk)
    }

    /// Starts on what a crash has left.
    static func start(on bytes: [UInt8], isEncrypted: Bool = false) throws -> CacheFile {
        try CacheFileWorld.open(CacheFileRecorder(bytes), CacheFileWorld.Form(isEncrypted: isEncrypted))
    }
}

extension CacheFile {
    /// `block` is in the store, as far as it was written to the slot.
    func noteStored(_ block: Int, _ slot: Int, _ version: String, upTo mark: CacheMark? = nil) throws {
        try setVersion(.tag(version), of: BlockNumber(block), in: CacheSlot(slot), upTo: mark ?? self.mark)
    }

    func zero(_ block: Int) throws { try recordZeros(BlockSet(blocks: [BlockNumber(block)])) }
    func assign(_ slot: Int, _ block: Int) throws { try assign(CacheSlot(slot), to: BlockNumber(block)) }
}
