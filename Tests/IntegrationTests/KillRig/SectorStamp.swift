// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// Makes sectors that tell who they are, and reads them back: every byte counts.
///
///     0   8   "S3BSTAMP"
///     8   8   the seed of the run
///     16  8   the number of the sector
///     24  8   the generation: how often this sector had been written
///     32  …   noise, from a place in a table of 1 MiB that follows from sector and generation
///
/// So a sector of another run, of another place, of another time, or of two times at once is told from what was written.
struct SectorStamp: Sendable {
    /// Bytes of a sector.
    static let size = 4096
    private static let magic = UInt64(bigEndian: 0x5333_4253_5441_4d50)
    private static let noiseSize = 1 << 20

    private let seed: UInt64
    private let noise: [UInt8]

    /// What a sector was found to hold.
    enum Contents: Equatable {
        /// Zeros, all of them.
        case zero
        /// What was written here with this generation, whole.
        case generation(UInt64)
        /// A whole sector of this run, written elsewhere.
        case misplaced(sector: UInt64, generation: UInt64)
        /// Nothing that was ever written anywhere, as a whole; with a description.
        case damaged(String)
    }

    /// Stamps of one run.
    init(seed: UInt64) {
        self.seed = seed
        var generator = SplitMix(seed: seed)
        var noise = [UInt8](repeating: 0, count: Self.noiseSize + Self.size)
        noise.withUnsafeMutableBytes { bytes in
            for index in 0..<bytes.count / 8 {
                bytes.storeBytes(of: generator.next(), toByteOffset: index * 8, as: UInt64.self)
            }
        }
        self.noise = noise
    }

    /// Writes the sector to `target`, which has ``size`` bytes.
    func fill(_ target: UnsafeMutableRawBufferPointer, sector: Int, generation: UInt64) {
        let start = place(UInt64(sector), generation)
        noise.withUnsafeBytes { bytes in
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + Self.size]))
        }
        for (index, word) in [Self.magic, seed, UInt64(sector), generation].enumerated() {
            target.storeBytes(of: word, toByteOffset: index * 8, as: UInt64.self)
        }
    }

    /// Says what the ``size`` bytes of a sector are.
    func identify(_ bytes: UnsafeRawBufferPointer, sector: Int) -> Contents {
        let (magic, seed, number, generation) = bytes.load(as: (UInt64, UInt64, UInt64, UInt64).self)
        if magic == 0 {
            // Each byte is compared with the one eight before it.
            guard memcmp(bytes.baseAddress!, bytes.baseAddress! + 8, Self.size - 8) != 0 else { return .zero }
            return .damaged("zeros at the start, then something else from byte \(bytes.firstIndex { $0 != 0 } ?? 0)")
        }
        guard magic == Self.magic, seed == self.seed else { return .damaged("a head that this run has not written") }
        let start = place(number, generation)
        let isWhole = noise.withUnsafeBytes { noise in
            memcmp(noise.baseAddress! + start + 32, bytes.baseAddress! + 32, Self.size - 32) == 0
        }
        guard isWhole else { return .damaged("a mix: \(mix(bytes, sector: number, generation: generation))") }
        return number == UInt64(sector) ? .generation(generation) : .misplaced(sector: number, generation: generation)
    }

    private func mix(_ bytes: UnsafeRawBufferPointer, sector: UInt64, generation: UInt64) -> String {
        let start = place(sector, generation)
        // Disks tear at 512 bytes.
        let wrong = noise.withUnsafeBytes { noise in
            stride(from: 0, to: Self.size, by: 512).filter { unit in
                let first = max(unit, 32)
                return memcmp(noise.baseAddress! + start + first, bytes.baseAddress! + first, unit + 512 - first) != 0
            }
        }
        return "the head of sector \(sector), generation \(generation), but other bytes in the 512 from \(wrong)"
    }

    private func place(_ sector: UInt64, _ generation: UInt64) -> Int {
        var generator = SplitMix(seed: seed ^ (sector << 32) ^ generation)
        return Int(generator.next() % UInt64(Self.noiseSize))
    }
}
