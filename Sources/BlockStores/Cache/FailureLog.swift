// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What the log is told of failing write-back: the first failure, a reminder each minute, and the end.
///
/// Where one block fails again and again while others get through, each failure is a first one, and followed by its end: of these, too,
/// there is one each minute.
struct FailureLog: Sendable {
    /// A line for the log.
    enum Line: Equatable, Sendable {
        case failing(String)
        case recovered(String)
    }

    /// How long after a line about a failure the next one may follow.
    static let interval = Duration.seconds(60)

    /// Failures since the last end that was told, and when the first of them was.
    private var count = 0
    private var since = Duration.zero
    /// When the log was last told of a failure.
    private var lastLine: Duration?
    /// Whether it has not been told of the end since.
    private var isTold = false

    /// An attempt has ended.
    ///
    /// - Parameters:
    ///   - failure: Why it failed; nil when it did not.
    ///   - unsaved: How many blocks the store does not have as they are here, zeroed ones included.
    mutating func note(_ failure: BlockStoreError?, doing what: String, unsaved: Int, now: Duration) -> Line? {
        guard let failure else {
            guard isTold else { return nil }
            defer {
                count = 0
                isTold = false
            }
            return .recovered("the store takes blocks again, after \((now - since).components.seconds) s and \(count) failures")
        }
        count += 1
        if count == 1 { since = now }
        if let lastLine, now - lastLine < Self.interval { return nil }
        lastLine = now
        isTold = true
        // A volume that is no longer ours does not come back by waiting.
        let outlook = failure.code == .fenced ? "" : "trying again, "
        return .failing("cannot \(what): \(failure); \(outlook)\(unsaved) blocks are not in the store yet (\(count) failures)")
    }
}

extension BlockStoreError {
    /// Whether trying again is no use until somebody has changed something: what a flush does not wait for.
    var isPermanent: Bool {
        switch code {
        case .accessDenied, .forbidden, .fenced, .redirected, .noSpace, .corrupt, .readOnly: true
        case .io, .stale, .timedOut, .unreachable, .outOfMemory, .outOfRange, .cancelled: false
        }
    }
}
