// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How often something took how long, in classes that double: class `n` holds times below 2^n microseconds, the last all others.
///
/// Fixed memory, and adding costs no allocation, so that a layer may keep one under its lock.
public struct LatencyHistogram: Equatable, Sendable {
    /// The number of classes; the last but one ends at about 67 s.
    public static let classCount = 28

    private var counts = InlineCounts()
    /// The sum of all times.
    public private(set) var total = Duration.zero
    /// The longest time.
    public private(set) var maximum = Duration.zero

    /// Holds nothing.
    public init() {}

    /// How many times were added.
    public var count: UInt64 { (0..<Self.classCount).reduce(0) { $0 + counts[$1] } }

    /// The mean; zero when nothing was added.
    public var mean: Duration { count == 0 ? .zero : total / Int(clamping: count) }

    /// Adds one time.
    public mutating func add(_ time: Duration) {
        let (seconds, attoseconds) = time.components
        let microseconds = UInt64(clamping: seconds) &* 1_000_000 &+ UInt64(clamping: attoseconds / 1_000_000_000_000)
        counts[min(UInt64.bitWidth - microseconds.leadingZeroBitCount, Self.classCount - 1)] += 1
        total += time
        maximum = max(maximum, time)
    }

    /// How many times were in class `index`.
    public subscript(index: Int) -> UInt64 { counts[index] }

    /// The time that a share of all times did not exceed, as the upper end of its class, or the maximum if that is less.
    ///
    /// - Parameter share: 0.5 is the median, 0.99 the 99th percentile.
    /// - Returns: Zero when nothing was added.
    public func percentile(_ share: Double) -> Duration {
        let wanted = UInt64((Double(count) * share).rounded(.up))
        guard wanted > 0 else { return .zero }
        var seen: UInt64 = 0
        for index in 0..<Self.classCount {
            seen += counts[index]
            if seen >= wanted { return index == Self.classCount - 1 ? maximum : min(.microseconds(1 << index), maximum) }
        }
        return maximum
    }
}

/// Counts in place, without a heap allocation.
private struct InlineCounts: Equatable, Sendable {
    private var values = SIMD32<UInt64>(repeating: 0)

    subscript(index: Int) -> UInt64 {
        get { values[index] }
        set { values[index] = newValue }
    }
}
