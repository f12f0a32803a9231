// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// What is in a cache file that nobody uses.
public struct CacheFileContents: Equatable, Sendable {
    /// The token of the mount that used the file last, unless that ended in order.
    public let token: UInt32?
    /// How many blocks hold data that the store does not have.
    public let dirtyBlockCount: Int
    /// How many blocks are zeros though the store may not have seen it; some of them may be dirty besides.
    public let pendingZeroCount: Int
    /// Whether an fdatasync(2) failed, so that the dirty data may be older than what was promised.
    public let isDistrusted: Bool

    /// Sums up what was found.
    init(header: CacheFileHeader, scan: CacheFileScan) {
        token = header.token == 0 ? nil : header.token
        dirtyBlockCount = scan.blocks.count { $0.isDirty }
        pendingZeroCount = scan.zeros.blocks.blockCount
        isDistrusted = header.flags.contains(.distrusted)
    }
}

extension CacheFile {
    /// The token recorded last.
    public var token: UInt32? { header.withLock { $0.token == 0 ? nil : $0.token } }

    /// Records which mount uses the file; durable when it returns.
    ///
    /// - Parameter token: The mount token; nil when no mount does.
    /// - Throws: `.io` from the local disk.
    public func record(token: UInt32?) throws(BlockStoreError) {
        let isDurable = try updateHeader { header in
            header.token = token ?? 0
            header.flags.remove(.closed)
        }
        guard isDurable else { throw Self.headerNotDurable }
    }

    /// Ends the use of the file in order: everything in it is durable, and the token is gone. Nothing may be called afterwards.
    ///
    /// - Parameter keepsToken: Whether the token stays, because the store does not have everything and its token stays, too.
    /// - Throws: `.io` from the local disk; then the file is as a crash would leave it.
    public func close(keepsToken: Bool) async throws(BlockStoreError) {
        try await commit()
        let isDurable = try updateHeader { header in
            if !keepsToken { header.token = 0 }
            header.flags.insert(.closed)
        }
        guard isDurable else { throw Self.headerNotDurable }
    }

    private static var headerNotDurable: BlockStoreError {
        BlockStoreError(.io, "cannot make the header of the cache file durable: fdatasync failed; see the log")
    }

    /// Writes the header page that is the older one, so that the other is there if a crash tears this one, and makes it durable.
    ///
    /// - Returns: Whether it is durable. If not, the file is not trusted any more, though the change stands: who is killed and starts again
    ///   finds it, and the next header has it, too.
    /// - Throws: `.io` when the page cannot be written; then nothing has changed, and the file is not trusted any more either.
    func updateHeader(_ change: (inout CacheFileHeader) -> Void) throws(BlockStoreError) -> Bool {
        var failure: BlockStoreError?
        do throws(BlockStoreError) {
            try header.withLock { header throws(BlockStoreError) in
                var next = header
                change(&next)
                next.generation += 1
                try next.write(to: disk)
                do throws(BlockStoreError) {
                    try disk.settle()
                } catch {
                    failure = error
                    // The next header goes to the same page: the other one may be all that the disk has.
                    next.generation -= 1
                }
                header = next
            }
        } catch {
            distrust(error)
            throw error
        }
        if let failure { distrust(failure) }
        return failure == nil
    }
}

extension CacheFileHeader {
    /// Writes the page whose turn it is.
    func write(to disk: any CacheFileDisk) throws(BlockStoreError) {
        try withScratch(CacheFileLayout.headerSize) { page throws(BlockStoreError) in
            encode(into: page)
            try disk.write(UnsafeRawBufferPointer(page), at: generation % 2 * UInt64(CacheFileLayout.headerSize))
        }
    }

    /// Reads the header that counts.
    ///
    /// - Returns: Nil when neither page is good.
    static func read(from disk: any CacheFileDisk) throws(BlockStoreError) -> CacheFileHeader? {
        try withScratch(2 * CacheFileLayout.headerSize) { pages throws(BlockStoreError) in
            try disk.read(into: pages, at: 0)
            let good = [0, CacheFileLayout.headerSize].compactMap {
                CacheFileHeader(UnsafeRawBufferPointer(pages).part($0, CacheFileLayout.headerSize))
            }
            return good.max { $0.generation < $1.generation }
        }
    }
}
