// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import CLinux
import Foundation

/// One thread that works on a ``StampedDisk`` until it is told to stop or the daemon dies.
///
/// Half of its operations go to a few hot places, so that blocks are rewritten while they are uploaded; some follow each other, as
/// a copied file does; the others go anywhere.
struct StampedWriter {
    private static let sectorsMax = 64

    private let disk: StampedDisk
    private let path: String
    private let isSyncing: Bool
    private var generator: SplitMix
    private let buffer: UnsafeMutableRawBufferPointer
    private var streamPosition: Int
    private var descriptor: Int32 = -1

    /// A writer that will open the disk file for itself.
    init(disk: StampedDisk, path: String, seed: UInt64, syncing: Bool) {
        self.disk = disk
        self.path = path
        isSyncing = syncing
        generator = SplitMix(seed: seed)
        buffer = .allocate(byteCount: Self.sectorsMax * SectorStamp.size, alignment: 4096)
        streamPosition = Int(generator.next() % UInt64(disk.sectorCount))
    }

    /// Works until the end.
    mutating func run() {
        defer { buffer.deallocate() }
        descriptor = open(path, O_RDWR | O_DIRECT | O_CLOEXEC)
        guard descriptor >= 0 else {
            fail("open")
            return
        }
        defer { close(descriptor) }
        while !disk.shouldStop, step() {}
    }

    /// Does one thing.
    ///
    /// - Returns: Whether the disk still answers.
    private mutating func step() -> Bool {
        let choice = random(100)
        if choice < 6, isSyncing { return sync(byClosing: choice < 3) }
        guard let range = claim() else { return true }
        defer { disk.withModel { $0.release(range) } }
        return switch choice {
        case ..<12: read(range)
        case ..<16: zero(range, mode: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
        case ..<18: zero(range, mode: FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)
        case ..<22: write(range, isZero: true)
        default: write(range, isZero: false)
        }
    }

    private mutating func random(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }

    /// Picks a free range of 1 to 64 sectors; nil when others work on the places that came to mind.
    private mutating func claim() -> Range<Int>? {
        for _ in 0..<8 {
            let count = random(2) == 0 ? 1 : 1 + random(Self.sectorsMax)
            let room = disk.sectorCount - count
            let start: Int
            switch random(10) {
            case ..<5: start = (random(16) * (disk.sectorCount / 16) + random(8)) % room
            case ..<8:
                start = streamPosition % room
                streamPosition = start + count
            default: start = random(room)
            }
            let range = start..<start + count
            if disk.withModel({ $0.claim(range) }) { return range }
        }
        return nil
    }

    private func write(_ range: Range<Int>, isZero: Bool) -> Bool {
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(range.count * SectorStamp.size)])
        let generations = disk.withModel { $0.issue(range, isZero: isZero) }
        if isZero {
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
        } else {
            for (index, generation) in generations.enumerated() {
                let target = bytes[(index * SectorStamp.size)..<((index + 1) * SectorStamp.size)]
                disk.stamp.fill(
                    UnsafeMutableRawBufferPointer(rebasing: target), sector: range.lowerBound + index, generation: generation)
            }
        }
        let count = pwrite(descriptor, bytes.baseAddress, bytes.count, off_t(range.lowerBound * SectorStamp.size))
        guard count == bytes.count else { return fail("a write of \(bytes.count) bytes returned \(count)") }
        disk.withModel { $0.acknowledge(range) }
        disk.count { $0.writes += 1 }
        return true
    }

    private func zero(_ range: Range<Int>, mode: Int32) -> Bool {
        _ = disk.withModel { $0.issue(range, isZero: true) }
        let offset = Int64(range.lowerBound * SectorStamp.size)
        guard linux_fallocate(descriptor, mode, offset, Int64(range.count * SectorStamp.size)) == 0 else {
            return fail("fallocate with mode \(mode)")
        }
        disk.withModel { $0.acknowledge(range) }
        disk.count { $0.zeroings += 1 }
        return true
    }

    private func read(_ range: Range<Int>) -> Bool {
        let wanted = range.count * SectorStamp.size
        let count = pread(descriptor, buffer.baseAddress, wanted, off_t(range.lowerBound * SectorStamp.size))
        guard count == wanted else { return fail("a read of \(wanted) bytes returned \(count)") }
        for (index, sector) in range.enumerated() {
            let contents = disk.stamp.identify(StampedDisk.sector(index, of: buffer), sector: sector)
            if let violation = disk.withModel({ $0.checkCurrent(contents, of: sector) }) { disk.report(violation) }
        }
        disk.count { $0.reads += 1 }
        return true
    }

    /// The kernel lets no write pass an fsync of the same file; the flush of a close runs beside them.
    private func sync(byClosing: Bool) -> Bool {
        let other = byClosing ? open(path, O_WRONLY | O_CLOEXEC) : descriptor
        guard other >= 0 else { return fail("open") }
        let snapshot = disk.syncBegins()
        let status = byClosing ? close(other) : fsync(descriptor)
        let code = errno
        disk.syncEnded(snapshot, succeeded: status == 0)
        errno = code
        return status == 0 || fail(byClosing ? "close" : "fsync")
    }

    @discardableResult
    private func fail(_ what: String) -> Bool {
        disk.failed("\(what): \(String(cString: strerror(errno)))")
        return false
    }
}
