// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The one owner of a buffer that is still being filled; ``freeze(count:)`` publishes it.
///
/// Non-copyable, so that nobody can write after publication. The memory is *not* zeroed: what has not been written holds the
/// bytes of an earlier use, and must not be published.
public struct BufferWriter: ~Copyable, Sendable {
    private let buffer: Buffer

    /// The number of bytes that may be written.
    public let capacity: Int

    /// Writes into `buffer`, which nobody else has yet; at most `capacity` bytes, which may be fewer than it has room for.
    init(buffer: Buffer, capacity: Int) {
        self.buffer = buffer
        self.capacity = capacity
    }

    /// Makes a writer of `count` bytes outside of any pool.
    public init(count: Int) {
        precondition(count >= 0, "a count is never negative")
        self.init(buffer: Buffer(base: allocatePages(capacity: max(count, 1)), capacity: count, pool: nil), capacity: count)
    }

    /// Calls `body` with all `capacity` bytes. The pointer is valid only during the call.
    public borrowing func withMutableBytes<Result, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafeMutableBytes)
    }

    /// The bytes, valid until ``freeze(count:)``; for the bridges to C, where a closure cannot span the use.
    public var unsafeMutableBytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: buffer.base, count: capacity)
    }

    /// Publishes the first `count` bytes. Nothing can be written after.
    public consuming func freeze(count: Int) -> Buffer {
        precondition(count <= capacity, "no more can be published than could be written")
        buffer.publish(count: count)
        return buffer
    }
}
