// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc

/// The values of units: a disk of kilobytes as a disk of 64-bit numbers, of which each says who wrote it, and where.
///
/// Zero is a unit of zeros; `mutation << 16 | unit + 1` is a unit that is filled with that number; ``torn`` is anything else.
enum Units {
    /// A unit that is not filled with one value.
    static let torn = UInt64.max

    /// What a mutation writes to a unit.
    static func value(mutation: UInt64, unit: Int) -> UInt64 { mutation << 16 | UInt64(unit + 1) }

    /// Whether a mutation up to the given one may have written `value` to `unit`.
    static func isIssued(_ value: UInt64, unit: Int, upTo mutation: UInt64) -> Bool {
        value == 0 || value & 0xffff == UInt64(unit + 1) && value >> 16 <= mutation
    }

    /// The values as the model's bytes.
    static func bytes(_ values: [UInt64]) -> [UInt8] { values.withUnsafeBytes { [UInt8]($0) } }

    /// The bytes that hold `values`, one per unit.
    static func fill(_ values: [UInt64], unitSize: Int) -> BufferSlice {
        let writer = BufferWriter(count: values.count * unitSize)
        writer.withMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            for (index, value) in values.enumerated() {
                let unit = base + index * unitSize
                unit.storeBytes(of: value, as: UInt64.self)
                var done = 8
                while done < unitSize {
                    memcpy(unit + done, unit, min(done, unitSize - done))
                    done *= 2
                }
            }
        }
        return BufferSlice(writer.freeze(count: values.count * unitSize))
    }

    /// The values that `slice` holds.
    static func values(of slice: BufferSlice, unitSize: Int) -> [UInt64] { slice.withBytes { values(of: $0, unitSize) } }

    /// The values that `bytes` holds.
    static func values(of bytes: UnsafeRawBufferPointer, _ unitSize: Int) -> [UInt64] {
        guard let base = bytes.baseAddress else { return [] }
        return stride(from: 0, to: bytes.count, by: unitSize).map { start in
            guard memcmp(base + start, base + start + 8, unitSize - 8) == 0 else { return torn }
            return (base + start).loadUnaligned(as: UInt64.self)
        }
    }
}
