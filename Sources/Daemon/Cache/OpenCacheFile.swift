// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

package import BlockStores
package import Cryptography

/// A cache file that is open and locked: what the start and the end of a mount need of it.
package protocol OpenCacheFile: CacheStorage {
    /// The mount token recorded last, as a number; nil when the run that used the file last ended in order, or there was none.
    var token: UInt32? { get }

    /// How many blocks an earlier run has left that the store does not have, blocks to be zeroed included.
    var unsavedBlockCount: Int { get }

    /// Whether these may be older than what was flushed, because the local disk has failed.
    var isDoubtful: Bool { get }

    /// Makes a token durable in the file; nil when there is none any more.
    ///
    /// - Throws: `.io` or `.noSpace` from the local disk.
    func record(token: UInt32?) throws(BlockStoreError)

    /// Ends the use of the file. Nothing is called afterwards; it is unlocked with the last reference to it.
    ///
    /// - Parameter keepsToken: Whether the token stays, because it stays in the store, too.
    /// - Throws: `.io` from the local disk; then the file is as a crash would leave it.
    func close(keepsToken: Bool) async throws(BlockStoreError)
}

/// Where a cache file is, and how it is opened.
package struct CacheFilePlace: Sendable {
    /// Its path, for messages.
    package var path: String
    /// Opens and locks the file for blocks of a volume, and makes it if there is none; told how many blocks are wanted, and the
    /// key, 32 bytes, that its data is encrypted with.
    ///
    /// - Throws: When it is in use, is another volume's, another program's, or damaged, was made with another key, and from the
    ///   local disk.
    package var open: Open
    /// Looks at the file and leaves it as it is: how many blocks it holds that the store does not have; nil when there is no file.
    ///
    /// - Throws: As ``open``.
    package var inspect: @Sendable () throws(BlockStoreError) -> Int?
    /// Renames the file; its new path.
    ///
    /// - Throws: From the local disk.
    package var setAside: @Sendable () throws(BlockStoreError) -> String

    /// See ``open``.
    package typealias Open =
        @Sendable (BlockGeometry, _ slotCount: Int, _ key: SecretBytes?) throws(BlockStoreError) -> any OpenCacheFile

    /// Spells out every part.
    package init(
        path: String, open: @escaping Open,
        inspect: @escaping @Sendable () throws(BlockStoreError) -> Int?,
        setAside: @escaping @Sendable () throws(BlockStoreError) -> String
    ) {
        self.path = path
        self.open = open
        self.inspect = inspect
        self.setAside = setAside
    }
}
