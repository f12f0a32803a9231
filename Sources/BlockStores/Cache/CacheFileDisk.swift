// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The file under a cache file, as far as it is used once it is open; tests put a recorder in its place.
///
/// - Concurrency: safe from anywhere.
/// - Source: 'man 2 pread', 'man 2 pwrite', 'man 2 fdatasync'.
protocol CacheFileDisk: Sendable {
    /// Fills `target` with the bytes from `offset` on; what lies behind the end is zeros.
    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlockStoreError)

    /// Writes all of `bytes`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(BlockStoreError)

    /// Has the writes that returned before begin to reach the disk: advice for a ``synchronize()`` that comes soon, and no promise.
    func startWriting()

    /// Makes every write that returned before durable. Called by one at a time.
    func synchronize() throws(BlockStoreError)

    /// As ``synchronize()``, though that may run at the same time: an error shows here whether or not it showed there.
    func settle() throws(BlockStoreError)

    /// Reserves room for `count` bytes from `offset` on.
    func reserve(_ count: UInt64, at offset: UInt64) throws(BlockStoreError)
}
