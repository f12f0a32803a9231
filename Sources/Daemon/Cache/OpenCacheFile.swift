// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

package import BlockStores
package import Cryptography

/// A cache file that is open and locked: what the start and the end of a mount need of it.
///
/// Everything here can be told without the key of the data in it, which is known only when the volume is open.
package protocol OpenCacheFile: Sendable {
    /// The mount token of the run that used it last, as a number; nil when that ended in order, or there was none.
    var token: UInt32? { get }

    /// How many blocks it holds that the store does not have, blocks to be zeroed included.
    var unsavedBlockCount: Int { get }

    /// Makes a token durable in the file; nil when there is none any more.
    ///
    /// - Throws: `.io` or `.noSpace` from the local disk.
    func record(token: UInt32?) throws(BlockStoreError)

    /// The place for blocks.
    ///
    /// - Parameter key: What the data is encrypted with, 32 bytes; nil keeps it plain.
    /// - Throws: When the data in it was kept in another way, or cannot be read.
    func storage(key: SecretBytes?) throws(BlockStoreError) -> any CacheStorage

    /// Closes the file, which lets others use it. Nobody uses the storage any more.
    func close()
}

/// Where a cache file is, and how it is opened.
package struct CacheFilePlace: Sendable {
    /// Its path, for messages.
    package var path: String
    /// Opens and locks the file for blocks of a volume, and makes it if there is none; told how many blocks are wanted.
    ///
    /// - Throws: When it is in use, is another volume's, another program's, or damaged, and from the local disk.
    package var open: @Sendable (BlockGeometry, _ slotCount: Int) throws(BlockStoreError) -> any OpenCacheFile
    /// Renames the file, which is not open; its new path.
    ///
    /// - Throws: From the local disk.
    package var setAside: @Sendable () throws(BlockStoreError) -> String

    /// Spells out every part.
    package init(
        path: String,
        open: @escaping @Sendable (BlockGeometry, _ slotCount: Int) throws(BlockStoreError) -> any OpenCacheFile,
        setAside: @escaping @Sendable () throws(BlockStoreError) -> String
    ) {
        self.path = path
        self.open = open
        self.setAside = setAside
    }
}
