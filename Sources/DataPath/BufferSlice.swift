// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc

/// A part of a ``Buffer``: how one write request of many blocks is cut up without a copy.
public struct BufferSlice: Sendable {
    /// The buffer that holds the bytes.
    public let buffer: Buffer
    /// Which of its bytes are meant; within `0 ..< buffer.count`.
    public let range: Range<Int>

    /// Names the bytes `range` of `buffer`.
    public init(_ buffer: Buffer, range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= buffer.count, "a slice lies within its buffer")
        self.buffer = buffer
        self.range = range
    }

    /// Names all bytes of `buffer`.
    public init(_ buffer: Buffer) {
        self.buffer = buffer
        self.range = 0..<buffer.count
    }

    /// The number of bytes.
    public var count: Int { range.count }

    /// The part `subrange` of this slice, counted from its own start.
    public func slice(_ subrange: Range<Int>) -> BufferSlice {
        precondition(subrange.lowerBound >= 0 && subrange.upperBound <= count, "a slice lies within its slice")
        return BufferSlice(
            buffer, range: range.lowerBound + subrange.lowerBound..<range.lowerBound + subrange.upperBound)
    }

    /// Calls `body` with the bytes. The pointer is valid only during the call.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafeBytes)
    }

    /// The bytes, valid for as long as the caller keeps ``buffer`` alive by other means.
    public var unsafeBytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: buffer.unsafeBytes[range])
    }

    /// A copy of the bytes as an array; for small things and tests.
    public var bytes: [UInt8] { withBytes { Array($0) } }

    /// Whether every byte is zero; an empty slice is.
    public var isAllZeros: Bool { withBytes { isAllZero($0) } }
}

/// Whether every byte is zero; true for no bytes at all.
///
/// Compares the memory with itself, eight bytes on: equal everywhere and zero in front means zero throughout. It runs at the
/// speed of memcmp(3), some 80 GB/s, where a loop over bytes does 2.
public func isAllZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let base = bytes.baseAddress, !bytes.isEmpty else { return true }
    guard bytes.count > 8 else { return bytes.allSatisfy { $0 == 0 } }
    return base.loadUnaligned(as: UInt64.self) == 0 && memcmp(base, base + 8, bytes.count - 8) == 0
}
