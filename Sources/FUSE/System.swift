// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import Glibc

/// The words of strerror(3) for an error number.
func describe(errno number: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard let text = buffer.baseAddress else { return "error \(number)" }
        text.initialize(repeating: 0, count: buffer.count)
        // Swift sees the POSIX function, which returns 0 when it knows the number.
        let status = strerror_r(number, text, buffer.count)
        return status == 0 ? String(cString: text) : "error \(number)"
    }
}

/// The reading of CLOCK_MONOTONIC.
func monotonicNow() -> Duration {
    var time = timespec()
    let status = clock_gettime(CLOCK_MONOTONIC, &time)
    precondition(status == 0, "clock_gettime")
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}
