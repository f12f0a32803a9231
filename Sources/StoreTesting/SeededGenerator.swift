// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// SplitMix64: a small random generator whose whole future is its seed, so that a failing run can be repeated.
///
/// Not for anything secret.
///
/// - Source: Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts the sequence that belongs to `seed`; near seeds give unlike sequences.
    public init(seed: UInt64) { state = seed }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// A number that is evenly spread over 0 ..< 1.
    public mutating func fraction() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// True with the given probability, 0 ... 1; draws one number in any case, so that plans stay comparable.
    public mutating func chance(_ probability: Double) -> Bool { fraction() < probability }

    /// A duration evenly spread over zero ... `longest`, in whole microseconds.
    public mutating func duration(upTo longest: Duration) -> Duration {
        let (seconds, attoseconds) = longest.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        return .microseconds(Int64.random(in: 0...max(microseconds, 0), using: &self))
    }

    /// `count` random bytes.
    public mutating func bytes(count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { withUnsafeBytes(of: next()) { bytes.append(contentsOf: $0) } }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// A generator of its own for another part of the test, independent of how much this one is used later.
    public mutating func split() -> SeededGenerator { SeededGenerator(seed: next()) }
}
