// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
internal import DataPath

/// The contract of ``Disk`` as data: cases that every disk has to pass, whatever it stands on.
///
/// Each case gets a fresh disk of zeros that may be written, of at least 512 bytes, and changes it.
public enum DiskContract {
    /// One rule, and how it is tried.
    public struct Case: Sendable, CustomStringConvertible {
        /// The rule, as a sentence.
        public let description: String
        /// Tries it; throws ``BlockContractViolation`` when it is broken, or what the disk throws.
        public let run: @Sendable (any Disk) async throws -> Void
    }

    /// All rules.
    public static let cases: [Case] = [
        Case(description: "a disk never written reads as zeros") { disk in
            try await expect(disk, [UInt8](repeating: 0, count: Int(disk.sizeBytes)), at: 0)
        },
        Case(description: "bytes read as what was written last, wherever they lie") { disk in try await tryRandomRequests(disk) },
        Case(description: "a range beyond the end is refused, and nothing is changed") { disk in
            let size = disk.sizeBytes
            let buffer = BufferSlice.filled(1, count: 16)
            try await refuses(.outOfRange) { _ = try await disk.read(size - 8..<size + 8, .foreground) }
            try await refuses(.outOfRange) { _ = try await disk.read(size + 1..<size + 1, .foreground) }
            try await refuses(.outOfRange) { try await disk.write(buffer, at: size - 8, .foreground) }
            try await refuses(.outOfRange) { try await disk.write(buffer, at: UInt64.max - 4, .foreground) }
            for offset in [size - 8, size, size + 1, UInt64.max - 4] {
                let isTaken = buffer.withBytes { disk.writeNow($0, at: offset) }
                try BlockContractViolation.unless(!isTaken, "a write beyond the end was taken")
            }
            try await refuses(.outOfRange) { try await disk.zero(size - 8..<size + 8, .foreground) }
            try await refuses(.outOfRange) { try await disk.flush(size - 8..<size + 8) }
            try await refuses(.outOfRange) { _ = try await disk.extents(in: size - 8..<size + 8) }
            try await expect(disk, [UInt8](repeating: 0, count: 8), at: size - 8)
        },
        Case(description: "the last bytes can be written and read") { disk in
            try await disk.write(.filled(4, count: 16), at: disk.sizeBytes - 16, .foreground)
            try await expect(disk, [UInt8](repeating: 4, count: 16), at: disk.sizeBytes - 16)
        },
        Case(description: "requests of no bytes do nothing") { disk in
            for offset in [0, 7, disk.sizeBytes] {
                try await disk.write(.filled(1, count: 0), at: offset, .foreground)
                _ = disk.writeNow(UnsafeRawBufferPointer(start: nil, count: 0), at: offset)
                try await disk.zero(offset..<offset, .foreground)
                try await expect(disk, [], at: offset)
                let extents = try await disk.extents(in: offset..<offset)
                try BlockContractViolation.unless(extents.isEmpty, "no bytes have extents")
            }
        },
        Case(description: "flushes of everything and of a range return") { disk in
            try await disk.write(.filled(4, count: 300), at: 100, .foreground)
            try await disk.flush(nil)
            try await disk.flush(100..<400)
            try await disk.flush(5..<5)
            try await expect(disk, [UInt8](repeating: 4, count: 300), at: 100)
        },
        Case(description: "extents cover what was asked, and what they call zero reads as zeros") { disk in
            try await disk.write(.filled(4, count: 200), at: 100, .foreground)
            try await disk.zero(130..<disk.sizeBytes, .foreground)
            for range in [0..<disk.sizeBytes, 101..<113, 3..<disk.sizeBytes - 3] {
                var next = range.lowerBound
                var last: BlockExtent.Kind?
                for extent in try await disk.extents(in: range) {
                    try BlockContractViolation.unless(extent.range.lowerBound == next, "extents do not follow on one another")
                    try BlockContractViolation.unless(!extent.range.isEmpty && extent.kind != last, "an extent is needless")
                    if extent.kind == .zero {
                        try await expect(disk, [UInt8](repeating: 0, count: extent.range.count), at: extent.range.lowerBound)
                    }
                    (next, last) = (extent.range.upperBound, extent.kind)
                }
                try BlockContractViolation.unless(next == range.upperBound, "extents end too early or too late")
            }
        },
    ]

    /// Writes, zeroes and reads ranges of all sizes and compares each read with an array.
    private static func tryRandomRequests(_ disk: any Disk) async throws {
        var generator = SeededGenerator(seed: 1)
        var model = [UInt8](repeating: 0, count: Int(disk.sizeBytes))
        for _ in 0..<200 {
            let lower = Int.random(in: 0..<model.count, using: &generator)
            let longest = min(model.count - lower, disk.preferredSizeBytes * 4)
            let upper = lower + Int.random(in: 0...longest, using: &generator)
            let range = UInt64(lower)..<UInt64(upper)
            switch Int.random(in: 0..<3, using: &generator) {
            case 0:
                let bytes = generator.bytes(count: upper - lower)
                let isTaken = generator.chance(0.5) && bytes.withUnsafeBytes { disk.writeNow($0, at: range.lowerBound) }
                if !isTaken { try await disk.write(BufferSlice(Buffer(copying: bytes)), at: range.lowerBound, .foreground) }
                model.replaceSubrange(lower..<upper, with: bytes)
            case 1:
                try await disk.zero(range, .foreground)
                model.replaceSubrange(lower..<upper, with: repeatElement(0, count: upper - lower))
            default:
                try await expect(disk, Array(model[lower..<upper]), at: range.lowerBound)
            }
        }
        try await expect(disk, model, at: 0)
    }

    private static func expect(_ disk: any Disk, _ bytes: [UInt8], at offset: UInt64) async throws {
        let range = offset..<offset + UInt64(bytes.count)
        let found = try await disk.read(range, .foreground)
        try BlockContractViolation.unless(found.count == bytes.count, "\(found.count) bytes instead of \(bytes.count)")
        try BlockContractViolation.unless(found.bytes == bytes, "other bytes at \(range) than were written")
        guard !bytes.isEmpty else { return }
        for case let now? in [disk.readNow(range)?.bytes, try disk.promptBytes(range)] {
            try BlockContractViolation.unless(now == bytes, "other bytes at \(range) at once than were written")
        }
    }

    private static func refuses(_ code: BlockStoreError.Code, _ call: () async throws -> Void) async throws {
        do {
            try await call()
        } catch let error as BlockStoreError where error.code == code {
            return
        }
        throw BlockContractViolation(description: "a request that should fail with \(code) did not")
    }
}
