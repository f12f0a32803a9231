// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A guess which write of the user is the last one before the next commit: whoever writes and flushes in turn, as a database or a journal
/// does, goes on doing so.
///
/// When two commits in a row were made after the same small number of writes, the next one is expected after as many. A wrong guess
/// costs what the disk would have been told to write a little later anyway.
struct CommitForecast: Sendable {
    /// After more writes than these, the time of a commit is that of the disk.
    private static let writeCountMax = 16

    /// The writes since the last commit began.
    private var writeCount = 0
    /// The writes between the two commits before.
    private var lastCount = 0
    /// After how many writes a commit is expected.
    private var expectedCount: Int?

    /// A write has ended.
    ///
    /// - Returns: Whether a commit is probably what comes next.
    mutating func noteWrite() -> Bool {
        writeCount += 1
        return writeCount == expectedCount
    }

    /// A commit begins.
    mutating func noteCommit() {
        // What is in between for another reason, as before an upload, says nothing.
        guard writeCount > 0 else { return }
        let isRegular = writeCount == lastCount && writeCount <= Self.writeCountMax
        expectedCount = isRegular ? writeCount : nil
        lastCount = writeCount
        writeCount = 0
    }
}
