// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Decides when an attempt has taken too long, from a look at its bytes every now and then: pure, without a clock.
///
/// ```
///                      0 ............ timeout ............................
///   silent for less than a third of `timeout`    goes on   |  goes on
///   silent for longer                            goes on   |  ends
///   silent for `stallTimeout`                    ends      |  ends
/// ```
/// Bytes move when the transfer has counted more of them, or when the socket's send queue has shrunk or grown: the kernel takes
/// megabytes from curl at once and sends them at the line's pace, so by curl's own counts 64 uploads of 1 MiB over 10 Mbit/s
/// would all stand still for a minute, time out together and never succeed.
struct TransferProgress: Hashable {
    private let start: Duration
    private let timeout: Duration
    private let stallTimeout: Duration
    private var lastMove: Duration
    private var lastMark: UInt64 = 0
    private var lastQueued = 0

    /// Begins to watch an attempt.
    init(start: Duration, timeout: Duration, stallTimeout: Duration) {
        self.start = start
        self.timeout = timeout
        self.stallTimeout = stallTimeout
        lastMove = start
    }

    /// Looks at the attempt.
    ///
    /// - Parameters:
    ///   - mark: The bytes that curl has sent and received so far.
    ///   - queued: The bytes in the socket's send queue; 0 where that is not known.
    /// - Returns: How long no byte has moved, if that is too long; else nil.
    mutating func observe(mark: UInt64, queued: Int, now: Duration) -> Duration? {
        if mark != lastMark || queued != lastQueued {
            lastMark = mark
            lastQueued = queued
            lastMove = now
        }
        let silence = now - lastMove
        let isOverdue = now - start >= timeout
        return silence >= (isOverdue ? min(stallTimeout, timeout / 3) : stallTimeout) ? silence : nil
    }
}
