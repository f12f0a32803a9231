// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How a session comes to its end; pure.
///
/// ```
///            stop          flushed           unmount: busy
///  serving -------> flushing -----> unmounting <-----------> busy (again after a pause, sooner after a close)
///     |  stop twice    |                |                      |
///     |                +----------------+----------> aborted <-+
///     +--- the kernel ends the connection (umount, abort): from any of these ---> ended
/// ```
struct StopStateMachine: Sendable {
    /// What a request to stop leads to.
    enum StopAnswer: Equatable, Sendable {
        /// The session will flush, then unmount.
        case begin
        /// The connection is to be broken now.
        case abort
        /// It is ending already.
        case ignore
    }

    /// What the thread that watches over the end does next.
    enum Step: Equatable, Sendable {
        /// Starts a flush of the disk; ``flushed()`` follows.
        case flush
        /// Tries to unmount; ``unmountTried(isBusy:now:)`` follows.
        case unmount
        /// Ends.
        case finish
    }

    private enum Phase: Equatable, Sendable {
        case serving
        case flushDue
        case flushing
        case unmountDue
        case unmounting
        case busy(until: Duration)
        case unmounted
        case aborted
        case ended
    }

    private var phase = Phase.serving
    private var pause = StopStateMachine.shortestPause
    private var wasReportedBusy = false

    /// The first pause after a close: the kernel lets go of the mount a moment after it tells of the close.
    static let shortestPause = Duration.milliseconds(10)
    /// The longest pause: what holds the mount without a file (a working directory) sends no word when it leaves.
    static let longestPause = Duration.seconds(2)

    private var isAbortAsked = false
    private var isUnmountDone = false

    /// Whether the connection was broken on request: not when the second request came while an unmount was succeeding already.
    ///
    /// Final once the thread that unmounts has seen ``ended()``.
    var isAborted: Bool { isAbortAsked && !isUnmountDone }

    /// Whether somebody has asked for the end.
    var isStopRequested: Bool { phase != .serving }

    /// Somebody wants the session to stop.
    mutating func stopRequested() -> StopAnswer {
        switch phase {
        case .serving:
            phase = .flushDue
            return .begin
        case .flushDue, .flushing, .unmountDue, .unmounting, .busy:
            phase = .aborted
            isAbortAsked = true
            return .abort
        case .unmounted, .aborted, .ended:
            return .ignore
        }
    }

    /// What to do at `now`; nil for nothing before the next event or ``deadline``.
    mutating func nextStep(now: Duration) -> Step? {
        switch phase {
        case .flushDue:
            phase = .flushing
            return .flush
        case .unmountDue:
            phase = .unmounting
            return .unmount
        case .busy(let until) where now >= until:
            phase = .unmounting
            return .unmount
        case .ended:
            return .finish
        case .serving, .flushing, .unmounting, .busy, .unmounted, .aborted:
            return nil
        }
    }

    /// When ``nextStep(now:)`` may have something although nothing happens.
    var deadline: Duration? {
        if case .busy(let until) = phase { until } else { nil }
    }

    /// The flush has ended, well or not.
    mutating func flushed() {
        if phase == .flushing { phase = .unmountDue }
    }

    /// An attempt to unmount has ended.
    ///
    /// - Returns: Whether that is the first time it was busy, which deserves a line in the log.
    mutating func unmountTried(isBusy: Bool, now: Duration) -> Bool {
        if !isBusy { isUnmountDone = true }
        guard phase == .unmounting else { return false }
        guard isBusy else {
            phase = .unmounted
            return false
        }
        phase = .busy(until: now + pause)
        pause = min(pause * 2, Self.longestPause)
        defer { wasReportedBusy = true }
        return !wasReportedBusy
    }

    /// The disk file has been closed for the last time.
    mutating func lastClose(now: Duration) {
        pause = Self.shortestPause
        if case .busy = phase { phase = .busy(until: now + pause) }
    }

    /// The connection with the kernel has ended.
    mutating func ended() { phase = .ended }
}
