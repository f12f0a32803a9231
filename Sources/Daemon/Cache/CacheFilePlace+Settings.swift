// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Cryptography
internal import Logging

extension CacheFile: OpenCacheFile {
    /// See ``OpenCacheFile/unsavedBlockCount``.
    package var unsavedBlockCount: Int { contents.unsavedBlockCount }
    /// See ``OpenCacheFile/isDoubtful``.
    package var isDoubtful: Bool { contents.isDistrusted }
}

extension CacheFileContents {
    /// How many blocks the store does not have; one that was zeroed and then written in part counts twice.
    var unsavedBlockCount: Int { dirtyBlockCount + pendingZeroCount }
}

extension CacheFilePlace {
    /// The file that the settings name.
    ///
    /// - Parameters:
    ///   - volume: Which volume's blocks it keeps: `Settings.volumeIdentity`.
    ///   - isForced: Whether a file of the C program is renamed.
    init(_ file: CacheFileSettings, volume: String, isForced: Bool, logger: Logger) {
        self.init(
            path: file.path,
            open: { geometry, slotCount, key throws(BlockStoreError) in
                try Self.inWords { () throws(CacheFileError) in
                    var options = CacheFileOptions(
                        identity: volume, blockSize: geometry.blockSize, slotCount: slotCount, key: key)
                    options.isAdvised = file.isAdvised
                    options.isForced = isForced
                    return try CacheFile.open(at: file.path, options, logger: logger)
                }
            },
            inspect: { () throws(BlockStoreError) in
                try Self.inWords { () throws(CacheFileError) in try CacheFile.inspect(at: file.path)?.unsavedBlockCount }
            },
            setAside: { () throws(BlockStoreError) in
                try Self.inWords { () throws(CacheFileError) in try CacheFile.setAside(file.path) }
            })
    }

    /// Gives a failure the type of this side; its line says everything.
    private static func inWords<Result>(_ body: () throws(CacheFileError) -> Result) throws(BlockStoreError) -> Result {
        do throws(CacheFileError) {
            return try body()
        } catch {
            throw BlockStoreError(error.code == .noSpace ? .noSpace : .io, error.message, cause: error)
        }
    }
}
