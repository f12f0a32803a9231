// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// The answer to a read of a ``Disk``: runs of bytes, still in the buffers they came in, and runs of zeros.
///
/// A front end hands the runs to the kernel or to the socket as they are, so a block is not copied on its way out.
public struct DiskBytes: Sendable {
    /// A run of bytes.
    public enum Run: Sendable {
        /// That many zeros.
        case zeros(count: Int)
        /// These bytes.
        case bytes(BufferSlice)

        /// The number of bytes.
        public var count: Int {
            switch self {
            case .zeros(let count): count
            case .bytes(let slice): slice.count
            }
        }
    }

    /// One run needs no array; it is the common case, and the hot one.
    private enum Storage: Sendable {
        case one(Run)
        case many([Run])
    }
    private let storage: Storage

    /// The number of bytes.
    public let count: Int

    /// An answer of one run.
    public init(_ run: Run) {
        storage = .one(run)
        count = run.count
    }

    /// An answer of several runs, in the order of the disk. Neighbouring zeros are joined.
    public init(_ runs: [Run]) {
        var joined: [Run] = []
        joined.reserveCapacity(runs.count)
        for run in runs {
            if case .zeros(let more) = run, case .zeros(let before)? = joined.last {
                joined[joined.count - 1] = .zeros(count: before + more)
            } else {
                joined.append(run)
            }
        }
        storage = joined.count == 1 ? .one(joined[0]) : .many(joined)
        count = joined.reduce(0) { $0 + $1.count }
    }

    /// The only run, or nil when there are several.
    public var single: Run? {
        if case .one(let run) = storage { run } else { nil }
    }

    /// The runs, in the order of the disk.
    public var runs: [Run] {
        switch storage {
        case .one(let run): [run]
        case .many(let runs): runs
        }
    }

    /// A copy of all bytes; for tests and small reads.
    public var bytes: [UInt8] {
        runs.flatMap { run in
            switch run {
            case .zeros(let count): [UInt8](repeating: 0, count: count)
            case .bytes(let slice): slice.bytes
            }
        }
    }
}
