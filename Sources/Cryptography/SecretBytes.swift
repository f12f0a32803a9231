// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto
internal import Glibc

/// Bytes that must not outlive their use: a password, a key. They are wiped when the last reference goes, are kept out of core
/// dumps and, as far as the limits of the process allow, out of swap; their description is `****`.
///
/// What libcrypto makes of a key, the schedule of a cipher, lies in its own memory and is not kept out of core dumps by this; a
/// process that encrypts should not be dumped at all.
///
/// - Concurrency: safe from anywhere; the bytes never change.
/// - Source: 'man 2 madvise' (MADV_DONTDUMP), 'man 2 mlock', 'man 3 OPENSSL_cleanse'.
public final class SecretBytes: @unchecked Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    // Proof for @unchecked: the memory is written only by init, before anybody else has the object, and by deinit, after.
    private let memory: UnsafeMutableRawBufferPointer
    /// The number of bytes.
    public let count: Int

    /// Makes secret bytes that `fill` writes, all of them.
    public init<Failure: Error>(
        count: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        let pageSize = 4096
        let size = max(1, (count + pageSize - 1) / pageSize) * pageSize
        // Whole pages of their own: the advice below is for pages.
        let base = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        // Running out of memory ends the process, as Swift's own allocations do.
        guard let base, base != MAP_FAILED else { fatalError("out of memory: \(size) bytes") }
        // Both are refused only by old kernels or low limits; the secret is usable all the same.
        _ = madvise(base, size, MADV_DONTDUMP)
        _ = mlock(base, size)
        memory = UnsafeMutableRawBufferPointer(start: base, count: size)
        self.count = count
        try fill(UnsafeMutableRawBufferPointer(rebasing: memory[..<count]))
    }

    /// Copies bytes into custody; wiping the original is the caller's.
    public convenience init(copying bytes: UnsafeRawBufferPointer) {
        self.init(count: bytes.count) { $0.copyMemory(from: bytes) }
    }

    /// Copies bytes into custody; meant for tests and for what is no secret yet.
    public convenience init(_ bytes: [UInt8]) { self.init(count: bytes.count) { $0.copyBytes(from: bytes) } }

    /// Makes a secret that nobody can foretell; see ``fillRandom(_:)``.
    public static func random(count: Int) -> SecretBytes { SecretBytes(count: count) { fillRandom($0) } }

    /// Asks again that the bytes stay out of swap: a child process has a copy of them, but not the lock.
    ///
    /// - Source: 'man 2 mlock': "Memory locks are not inherited by a child created via fork(2)".
    public func lockAgain() { _ = mlock(memory.baseAddress, memory.count) }

    deinit {
        OPENSSL_cleanse(memory.baseAddress, memory.count)
        munmap(memory.baseAddress.unsafelyUnwrapped, memory.count)
    }

    /// Calls `body` with the bytes. The pointer is valid only during the call.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(rebasing: memory[..<count]))
    }

    /// Four asterisks.
    public var description: String { "****" }
    /// Four asterisks.
    public var debugDescription: String { "****" }
    /// No parts.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
