// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc

/// A run of bytes in memory that never changes once it exists, so that any number of layers and tasks may hold it.
///
/// Blocks travel through the stack as buffers: the kernel's write data is copied into one, an HTTP body is received into one,
/// and no layer between the two copies it again. A buffer is filled through a ``BufferWriter`` and published by
/// ``BufferWriter/freeze(count:)``; from then on it is read only. Its memory starts at a page boundary and goes back to its
/// ``BufferPool`` with the last reference.
///
/// - Concurrency: safe to share and read from anywhere.
public final class Buffer: @unchecked Sendable {
    // Proof for @unchecked: the bytes and `count` are written only through the one BufferWriter that made this buffer, which
    // is non-copyable and consumed by freeze(); no second owner exists before that. The other members are constants.
    /// Where the memory starts.
    let base: UnsafeMutableRawPointer
    /// How many bytes the memory has; at least ``count``.
    let capacity: Int
    private let pool: BufferPool?

    /// The number of bytes, fixed at publication.
    public private(set) var count: Int

    /// Owns `capacity` bytes at `base` from now on; they go back to `pool`, or are freed when there is none.
    init(base: UnsafeMutableRawPointer, capacity: Int, pool: BufferPool?) {
        self.base = base
        self.capacity = capacity
        self.pool = pool
        self.count = 0
    }

    deinit {
        if let pool { pool.giveBack(base, capacity: capacity) } else { free(base) }
    }

    /// Makes a buffer outside of any pool that holds a copy of `bytes`; meant for small things such as the mount token.
    public convenience init(copying bytes: some Collection<UInt8>) {
        self.init(base: allocatePages(capacity: max(bytes.count, 1)), capacity: bytes.count, pool: nil)
        UnsafeMutableRawBufferPointer(start: base, count: bytes.count).copyBytes(from: bytes)
        count = bytes.count
    }

    /// Calls `body` with the bytes. The pointer is valid only during the call.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafeBytes)
    }

    /// The bytes, valid for as long as the caller keeps this buffer alive by other means (`withExtendedLifetime`, or a field).
    ///
    /// For the bridges to C (curl's send buffer, an iovec), where a closure cannot span the use.
    public var unsafeBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: count)
    }

    /// Fixes the count; the writer's last act.
    func publish(count: Int) {
        precondition(count >= 0 && count <= capacity, "a buffer cannot hold more than its memory")
        self.count = count
    }
}

/// Allocates memory that starts at a page boundary; running out of memory ends the process, as Swift's own allocations do.
func allocatePages(capacity: Int) -> UnsafeMutableRawPointer {
    var base: UnsafeMutableRawPointer?
    // See: 'man 3 posix_memalign'.
    let status = posix_memalign(&base, 4096, capacity)
    guard status == 0, let base else { fatalError("out of memory: \(capacity) bytes") }
    return base
}
