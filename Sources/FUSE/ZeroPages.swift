// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// Zeros to reply with: read-only memory that the kernel backs with one page of zeros, however long it is.
final class ZeroPages: @unchecked Sendable {
    // Proof for @unchecked: nobody can write to the mapping.

    /// The bytes; as many as the longest read has.
    let bytes: UnsafeRawBufferPointer

    /// Maps `count` bytes of zeros.
    init(count: Int) {
        // See: 'man 2 mmap'. It fails only without address space.
        guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), base != MAP_FAILED else {
            fatalError("out of memory: \(count) bytes")
        }
        bytes = UnsafeRawBufferPointer(start: base, count: count)
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
}
