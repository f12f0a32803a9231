// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc
import Synchronization

/// Lends page-aligned memory and takes it back, so that the data path neither allocates nor touches fresh pages per request.
///
/// Fresh pages make a 1 MiB request five times slower than reused ones. Memory is kept in classes of a power of two, from one
/// page to ``largestPooled``; what is larger is allocated and freed each time. At most `retainedBytesMax` idle bytes are kept.
///
/// - Concurrency: safe from anywhere.
public final class BufferPool: Sendable {
    /// The largest request that is served from the pool, in bytes.
    public static let largestPooled = 16 << 20
    private static let smallestClass = 12  // 4 KiB
    private static let classCount = 13  // 4 KiB ... 16 MiB

    private struct Idle {
        var classes = [[Pointer]](repeating: [], count: BufferPool.classCount)
        var bytes = 0
    }
    /// Proof for @unchecked: an idle pointer has no owner but the list it stands in, which is under the mutex.
    private struct Pointer: @unchecked Sendable { let base: UnsafeMutableRawPointer }

    private let idle = Mutex(Idle())
    private let retainedBytesMax: Int

    /// - Parameter retainedBytesMax: How many idle bytes are kept for reuse at most; more are freed.
    public init(retainedBytesMax: Int) {
        self.retainedBytesMax = retainedBytesMax
    }

    deinit {
        idle.withLock { idle in
            for pointer in idle.classes.joined() { free(pointer.base) }
        }
    }

    /// Lends memory for `count` bytes, with whatever content an earlier use left.
    public func writer(count: Int) -> BufferWriter {
        precondition(count >= 0, "a count is never negative")
        guard let index = Self.classIndex(of: count) else { return BufferWriter(count: count) }
        let capacity = 1 << (Self.smallestClass + index)
        let reused: Pointer? = idle.withLock { idle in
            guard let pointer = idle.classes[index].popLast() else { return nil }
            idle.bytes -= capacity
            return pointer
        }
        let base = reused?.base ?? allocatePages(capacity: capacity)
        return BufferWriter(buffer: Buffer(base: base, capacity: capacity, pool: self), capacity: count)
    }

    /// Copies `bytes` into a buffer of this pool.
    public func copy(_ bytes: UnsafeRawBufferPointer) -> Buffer {
        let writer = writer(count: bytes.count)
        writer.withMutableBytes { target in target.copyMemory(from: bytes) }
        return writer.freeze(count: bytes.count)
    }

    /// The idle bytes held at present.
    public var retainedBytes: Int { idle.withLock { $0.bytes } }

    /// Takes back memory that nobody refers to any more: keeps it, or frees it when enough is kept.
    func giveBack(_ base: UnsafeMutableRawPointer, capacity: Int) {
        let pointer = Pointer(base: base)
        let isKept = idle.withLock { idle in
            guard let index = Self.classIndex(of: capacity), idle.bytes + capacity <= retainedBytesMax else { return false }
            idle.classes[index].append(pointer)
            idle.bytes += capacity
            return true
        }
        if !isKept { free(base) }
    }

    private static func classIndex(of count: Int) -> Int? {
        guard count <= largestPooled else { return nil }
        guard count > 1 << smallestClass else { return 0 }
        return Int.bitWidth - (count - 1).leadingZeroBitCount - smallestClass
    }
}
