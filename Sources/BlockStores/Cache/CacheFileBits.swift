// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// One bit for each sector of a cache file.
struct CacheFileBits: Sendable {
    private var words: [UInt64]

    /// Makes `count` bits, none of them set.
    init(count: Int) { words = [UInt64](repeating: 0, count: (count + 63) / 64) }

    /// The bit at `index`.
    subscript(index: Int) -> Bool {
        get { words[index / 64] >> UInt64(index % 64) & 1 == 1 }
        set {
            let bit: UInt64 = 1 << UInt64(index % 64)
            if newValue { words[index / 64] |= bit } else { words[index / 64] &= ~bit }
        }
    }
}
