// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Cryptography
internal import Glibc
public import Logging
internal import Synchronization

extension CacheFile {
    /// The smallest capacity that a full disk makes us content with.
    static let slotCountMin = 64

    /// Opens the cache file of a volume, and makes it if there is none.
    ///
    /// A file with another number of slots is rebuilt with everything that has room in it. Room on the disk is reserved, so that it cannot
    /// run out later; if there is not enough for a new file, it gets fewer slots, and the log says so.
    ///
    /// - Throws: ``CacheFileError``; each message names the file, the cause and the cure. The file is then as it was.
    /// - Concurrency: Blocks for local I/O. The file is locked until the last reference to it goes.
    public static func open(
        at path: String, _ options: CacheFileOptions, logger: Logger
    ) throws(CacheFileError) -> CacheFile {
        try checkOptions(options, path)
        var logger = logger
        logger[metadataKey: "file"] = "\(path)"
        guard let disk = try CacheFileLocalDisk(path: path, access: .writing, isAdvised: options.isAdvised) else {
            return try create(at: path, options, logger: logger, replacing: nil)
        }
        do throws(CacheFileError) {
            let header = try readHeader(disk, path, canBeForced: true)
            try checkHeader(header, options, path)
            return try use(disk, header, options, logger)
        } catch {
            guard error.code == .foreign, options.isForced else { throw error }
            let kept = try setAside(path)
            logger.warning("kept the cache file of the C program under another name", metadata: ["name": "\(kept)"])
            return try create(at: path, options, logger: logger, replacing: nil)
        }
    }

    /// Tells what a cache file holds, and changes nothing.
    ///
    /// - Returns: Nil when there is no such file. Blocks whose data fails its check are counted as dirty, too.
    /// - Throws: As ``open(at:_:logger:)``.
    public static func inspect(at path: String) throws(CacheFileError) -> CacheFileContents? {
        guard let disk = try CacheFileLocalDisk(path: path, access: .reading, isAdvised: false) else { return nil }
        let header = try readHeader(disk, path, canBeForced: false)
        return try onDisk(path) { () throws(BlockStoreError) in
            CacheFileContents(header: header, scan: try CacheFileScan(of: header, on: disk, seal: nil))
        }
    }

    /// Gives a file another name: `.old-1` is appended, or the next number that is free. Nothing is erased.
    ///
    /// - Returns: The new path.
    /// - Throws: `.io`.
    public static func setAside(_ path: String) throws(CacheFileError) -> String {
        for number in 1...9999 {
            let name = "\(path).old-\(number)"
            if linux_rename_no_replace(path, name) == 0 {
                try synchronizeFolder(of: path)
                return name
            }
            guard errno == EEXIST else { break }
        }
        throw CacheFileError(.io, "cannot rename the cache file \"\(path)\": \(CacheFileLocalDisk.reason(errno))")
    }

    // MARK: An existing file

    private static func use(
        _ disk: CacheFileLocalDisk, _ header: CacheFileHeader, _ options: CacheFileOptions, _ logger: Logger
    ) throws(CacheFileError) -> CacheFile {
        let seal = try makeSeal(header, options, disk.path)
        let file = try onDisk(disk.path) { () throws(BlockStoreError) in
            let scan = try CacheFileScan(of: header, on: disk, seal: seal)
            return CacheFile(disk: disk, header: header, seal: seal, scan: scan, logger: logger)
        }
        let damageCount = file.scan.withLock { $0?.damageCount ?? 0 }
        guard damageCount == 0 else {
            throw CacheFileLocalDisk.refusal(
                .damaged, disk.path, "\(damageCount) of its descriptors are damaged; move it away to start without what it holds")
        }
        let isEmpty = file.contents.dirtyBlockCount == 0 && file.contents.pendingZeroCount == 0
        if file.contents.isDistrusted, isEmpty {
            logger.notice("the cache file could not be made durable once, and holds nothing unsaved: it is made anew")
            return try create(at: disk.path, options, logger: logger, replacing: nil, anew: header.token)
        }
        guard header.layout.slotCount != options.slotCount else { return file }
        return try resize(file, disk.path, options, logger)
    }

    /// - Parameter canBeForced: Whether ``CacheFileOptions/isForced`` would help, for the message.
    private static func readHeader(
        _ disk: CacheFileLocalDisk, _ path: String, canBeForced: Bool
    ) throws(CacheFileError) -> CacheFileHeader {
        let (header, isForeign, versions) = try onDisk(path) { () throws(BlockStoreError) in
            let header = try CacheFileHeader.read(from: disk)
            return try withScratch(2 * CacheFileLayout.headerSize) { pages throws(BlockStoreError) in
                try disk.read(into: pages, at: 0)
                let pages = UnsafeRawBufferPointer(pages)
                let versions = [0, CacheFileLayout.headerSize].compactMap { CacheFileHeader.version(of: pages.part($0, 4096)) }
                return (header, CacheFileHeader.isForeign(pages), versions)
            }
        }
        if isForeign {
            throw CacheFileLocalDisk.refusal(
                .foreign, path,
                "it is one of the C program; if that was unmounted in order, all of it is in the store: rename it"
                    + (canBeForced ? ", or use --force, which renames it and passes over the mount token too" : "")
                    + "; if not, mount once with the C program and --blockCacheRecoverDirtyBlocks, and unmount")
        }
        if let header {
            // It is never shorter than what is reserved, whatever is in use of that.
            guard disk.size >= max(header.layout.size, header.zeroArea.offset + header.zeroArea.size) else {
                throw CacheFileLocalDisk.refusal(
                    .damaged, path, "it has been cut off; move it away to start without what it holds")
            }
            return header
        }
        if let version = versions.first(where: { $0 > CacheFileHeader.version }) {
            throw CacheFileLocalDisk.refusal(
                .otherVersion, path, "it has the format \(version) of a newer s3backer; use that one, or name another file")
        }
        guard versions.isEmpty else {
            throw CacheFileLocalDisk.refusal(.damaged, path, "its header is damaged; move it away to start without what it holds")
        }
        throw CacheFileLocalDisk.refusal(.notACacheFile, path, "it is no cache file; name another one, or move it away")
    }

    private static func checkHeader(
        _ header: CacheFileHeader, _ options: CacheFileOptions, _ path: String
    ) throws(CacheFileError) {
        if header.identity != options.identity {
            throw CacheFileLocalDisk.refusal(
                .otherVolume, path,
                "it belongs to \(header.identity), not to \(options.identity); mount it with the --baseURL or --region it was made"
                    + " with, or name another file")
        }
        if header.layout.blockSize != options.blockSize {
            throw CacheFileLocalDisk.refusal(
                .otherBlockSize, path,
                "it has blocks of \(header.layout.blockSize) bytes, not of \(options.blockSize); name another file")
        }
        let isEncrypted = header.flags.contains(.encrypted)
        guard isEncrypted != (options.key != nil) else { return }
        throw CacheFileLocalDisk.refusal(
            .otherEncryption, path,
            isEncrypted
                ? "it is encrypted; mount with the encryption it was made with and without --blockCachePlain, or name another file"
                : "it is not encrypted; add --blockCachePlain, or name another file")
    }

    /// Works in the key of a file.
    ///
    /// - Throws: `.wrongKey` when an encrypted file was made with another one.
    static func makeSeal(
        _ header: CacheFileHeader, _ options: CacheFileOptions, _ path: String
    ) throws(CacheFileError) -> CacheFileSeal {
        let isEncrypted = header.flags.contains(.encrypted)
        let seal = CacheFileSeal(
            key: options.key ?? SecretBytes(header.checkKey), fileID: header.fileID, isEncrypted: isEncrypted)
        guard !isEncrypted || seal.keyTag(nonce: header.keyNonce) == header.keyTag else {
            throw CacheFileLocalDisk.refusal(
                .wrongKey, path, "it is encrypted with another key; give the password it was made with, or name another file")
        }
        return seal
    }

    private static func checkOptions(_ options: CacheFileOptions, _ path: String) throws(CacheFileError) {
        let isPower = options.blockSize > 0 && options.blockSize & (options.blockSize - 1) == 0
        let sizes = CacheFileLayout.blockSizeMin...CacheFileLayout.blockSizeMax
        guard isPower, sizes.contains(options.blockSize) else {
            throw CacheFileLocalDisk.refusal(
                .otherBlockSize, path,
                "a cache file needs blocks of \(sizes.lowerBound) bytes or more; use --blockCacheSize alone")
        }
        precondition(1..<1 << 31 ~= options.slotCount, "a cache file holds at least one block")
    }

    /// Calls `body`, whose errors are those of the disk.
    static func onDisk<Result>(
        _ path: String, _ body: () throws(BlockStoreError) -> Result
    ) throws(CacheFileError) -> Result {
        do throws(BlockStoreError) {
            return try body()
        } catch {
            throw CacheFileError(error.code == .noSpace ? .noSpace : .io, error.message)
        }
    }

    /// Makes a rename in the file's folder durable.
    ///
    /// - Source: 'man 2 fsync': a file's entry in its directory is synchronized with the directory.
    static func synchronizeFolder(of path: String) throws(CacheFileError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if descriptor >= 0 { Glibc.close(descriptor) } }
        guard descriptor >= 0, fsync(descriptor) == 0 else {
            throw CacheFileError(.io, "cannot make the folder \"\(folder)\" durable: \(CacheFileLocalDisk.reason(errno))")
        }
    }
}
