// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc
import Testing

@Suite("The clocks of the machine")
struct TimelineTests {
    /// Seen on a machine that has been suspended, or under `unshare --time --boottime 100000`.
    @Test("the time goes on while the machine is suspended")
    func countsSuspension() {
        let before = bootTime()
        let now = SystemTimeline().now
        #expect(before <= now && now <= bootTime())
    }

    private func bootTime() -> Duration {
        var time = timespec()
        let status = clock_gettime(CLOCK_BOOTTIME, &time)
        precondition(status == 0)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
