// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The text behind the statistics file.
///
/// - Concurrency: called from any thread, several at once; must not wait for I/O.
public protocol StatisticsText: Sendable {
    /// The figures of this moment, one per line.
    func text() -> String

    /// Sets the counters back to zero; what removing the statistics file does.
    func reset()
}
