// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc

/// The time as the layers see it, so that a test can move it by hand.
///
/// Two readings: `now` never jumps and measures delays, `unixTime` is the calendar's and signs requests.
public protocol Timeline: Sendable {
    /// The time since some fixed moment; never goes back, and goes on while the machine is suspended: others may have taken over
    /// in the meantime.
    var now: Duration { get }

    /// The time since 1970-01-01T00:00:00Z, as the system's calendar clock has it.
    var unixTime: Duration { get }

    /// Returns when `now` has passed `deadline`.
    ///
    /// - Throws: `CancellationError` as soon as the task is cancelled.
    func sleep(until deadline: Duration) async throws(CancellationError)
}

/// The clocks of the machine: CLOCK_BOOTTIME and CLOCK_REALTIME.
public struct SystemTimeline: Timeline {
    /// Makes a view of the machine's clocks; all such views are the same.
    public init() {}

    /// The reading of CLOCK_BOOTTIME.
    public var now: Duration { Self.read(CLOCK_BOOTTIME) }

    /// The reading of CLOCK_REALTIME.
    public var unixTime: Duration { Self.read(CLOCK_REALTIME) }

    /// Sleeps until CLOCK_BOOTTIME passes `deadline`; see ``Timeline/sleep(until:)``.
    public func sleep(until deadline: Duration) async throws(CancellationError) {
        do {
            try await Task.sleep(for: max(deadline - now, Duration.zero), tolerance: .milliseconds(1), clock: .continuous)
        } catch {
            // Task.sleep throws nothing but CancellationError; its signature says `any Error`.
            throw CancellationError()
        }
    }

    private static func read(_ clock: clockid_t) -> Duration {
        var time = timespec()
        // See: 'man 2 clock_gettime'; it cannot fail for these two clocks.
        let status = clock_gettime(clock, &time)
        precondition(status == 0, "clock_gettime")
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
