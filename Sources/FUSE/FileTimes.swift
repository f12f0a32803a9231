// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import Glibc
internal import Synchronization

/// The times that stat(2) shows for the disk file, kept without a lock.
struct FileTimes: ~Copyable, Sendable {
    /// When the file system began; the time of its last change of status as well.
    let start: Int64
    private let accessed: Atomic<Int64>
    private let modified: Atomic<Int64>

    /// - Parameter start: Nanoseconds since 1970-01-01T00:00:00Z, as all times here.
    init(start: Int64) {
        self.start = start
        accessed = Atomic(start)
        modified = Atomic(start)
    }

    /// When the file was last opened or read.
    var accessTime: Int64 { accessed.load(ordering: .relaxed) }
    /// When the file was last written or zeroed.
    var modificationTime: Int64 { modified.load(ordering: .relaxed) }

    /// Notes an access. Reads and writes of several threads come here, so the value is only stored when it differs.
    func recordAccess(at time: Int64) {
        if accessed.load(ordering: .relaxed) != time { accessed.store(time, ordering: .relaxed) }
    }

    /// Notes a change of the contents.
    func recordModification(at time: Int64) {
        if modified.load(ordering: .relaxed) != time { modified.store(time, ordering: .relaxed) }
    }
}

/// The calendar time in nanoseconds since 1970-01-01T00:00:00Z, as fine as the kernel's tick: what file times need.
func realTimeNow() -> Int64 {
    var time = timespec()
    let status = clock_gettime(CLOCK_REALTIME_COARSE, &time)
    precondition(status == 0, "clock_gettime")
    return nanoseconds(time)
}

/// A time as one number of nanoseconds.
func nanoseconds(_ time: timespec) -> Int64 { Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec) }

/// A number of nanoseconds as the system's calls want it.
func timespecOf(nanoseconds: Int64) -> timespec {
    let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    return timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
}
