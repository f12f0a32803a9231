// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Cryptography
internal import Glibc
internal import Logging
internal import Synchronization

extension CacheFile {
    /// Makes a file under a name of its own, with everything that `old` holds, and gives it its name when it is complete and durable: a crash
    /// on the way leaves the old file, or none.
    ///
    /// - Parameters:
    ///   - old: What the new file replaces, if anything is to be kept.
    ///   - token: That of the file that is replaced without keeping anything else; nil when there must be no file of that name.
    static func create(
        at path: String, _ options: CacheFileOptions, logger: Logger, replacing old: CacheFile?, anew token: UInt32? = nil
    ) throws(CacheFileError) -> CacheFile {
        let temporary = path + ".new"
        try removeLeftover(temporary, of: path)
        let disk = try CacheFileLocalDisk(creating: temporary, for: path, isAdvised: options.isAdvised)
        do throws(CacheFileError) {
            let least = max(old?.contents.dirtyBlockCount ?? 0, min(slotCountMin, options.slotCount))
            let layout = try reserve(disk, path, options, slotCountMin: least, logger)
            let file = try fill(disk, layout, options, old, token: old?.token ?? token ?? 0, logger)
            let isReplacing = token != nil || old != nil
            let outcome = isReplacing ? rename(temporary, path) : linux_rename_no_replace(temporary, path)
            guard outcome == 0 else {
                throw CacheFileLocalDisk.refusal(.io, path, CacheFileLocalDisk.reason(errno))
            }
            try synchronizeFolder(of: path)
            return file
        } catch {
            // It is ours and incomplete; if even that fails, the next start removes it.
            _ = unlink(temporary)
            throw error
        }
    }

    /// Makes `file` larger or smaller; everything it holds stays, as far as there is room, and what the store does not have in any case.
    static func resize(
        _ file: CacheFile, _ path: String, _ options: CacheFileOptions, _ logger: Logger
    ) throws(CacheFileError) -> CacheFile {
        let dirtyCount = file.contents.dirtyBlockCount
        guard dirtyCount <= options.slotCount else {
            throw CacheFileError(
                .tooSmall,
                "cannot make the cache file \"\(path)\" smaller: \(dirtyCount) of its blocks are not in the store yet;"
                    + " mount once with --blockCacheSize=\(file.slotCount) and unmount")
        }
        let sizes: Logger.Metadata = ["from": "\(file.slotCount)", "to": "\(options.slotCount)"]
        do throws(CacheFileError) {
            let new = try create(at: path, options, logger: logger, replacing: file)
            logger.notice("the cache file has another number of blocks now", metadata: sizes)
            return new
        } catch {
            guard error.code == .noSpace else { throw error }
            logger.warning("the cache file keeps its size: the disk has no room to make another one", metadata: sizes)
            return file
        }
    }

    // MARK: Smaller parts

    /// Reserves room for as many slots as wanted, or for as many as the disk has room for.
    private static func reserve(
        _ disk: CacheFileLocalDisk, _ path: String, _ options: CacheFileOptions, slotCountMin: Int, _ logger: Logger
    ) throws(CacheFileError) -> CacheFileLayout {
        var slotCount = options.slotCount
        while true {
            let layout = usualLayout(options, slotCount)
            do throws(BlockStoreError) {
                // Some file systems take all that is left before they refuse.
                if layout.size > disk.available { throw BlockStoreError(.noSpace, "no room") }
                try disk.reserve(layout.size, at: 0)
                if slotCount < options.slotCount {
                    logger.warning(
                        "the disk has no room for the whole block cache; it gets fewer blocks",
                        metadata: ["wanted": "\(options.slotCount)", "blocks": "\(slotCount)"])
                }
                return layout
            } catch {
                guard error.code == .noSpace else { throw CacheFileError(.io, error.message) }
            }
            guard slotCount > slotCountMin else {
                throw CacheFileLocalDisk.refusal(
                    .noSpace, path, "the disk has no room for \(slotCount) blocks; make room, or use --blockCacheSize with fewer")
            }
            _ = disk.truncate()
            slotCount = max(slotCountMin, slotCount - slotCount / 8 - 1)
        }
    }

    /// The layout of a new file with so many slots.
    static func usualLayout(_ options: CacheFileOptions, _ slotCount: Int) -> CacheFileLayout {
        let sectorsPerBlock = options.blockSize / min(4096, options.blockSize)
        return CacheFileLayout(
            blockSize: options.blockSize, slotCount: slotCount,
            spareCount: CacheFileLayout.usualSpareCount(slotCount: slotCount, sectorsPerBlock: sectorsPerBlock),
            zeroEventCount: 8192)
    }

    private static func fill(
        _ disk: CacheFileLocalDisk, _ layout: CacheFileLayout, _ options: CacheFileOptions, _ old: CacheFile?, token: UInt32,
        _ logger: Logger
    ) throws(CacheFileError) -> CacheFile {
        let (header, seal) = try onDisk(disk.path) { () throws(BlockStoreError) in
            try format(disk, layout, options, token: token)
        }
        return try onDisk(disk.path) { () throws(BlockStoreError) in
            func read() throws(BlockStoreError) -> CacheFile {
                let header = try CacheFileHeader.read(from: disk) ?? header
                let scan = try CacheFileScan(of: header, on: disk, seal: seal)
                return CacheFile(disk: disk, header: header, seal: seal, scan: scan, logger: logger)
            }
            let file = try read()
            guard let old else { return file }
            try old.copy(to: file)
            try disk.settle()
            if old.contents.isDistrusted, try !file.updateHeader({ $0.flags.insert(.distrusted) }) {
                throw BlockStoreError(.io, "cannot make the new cache file durable: fdatasync failed")
            }
            return try read()
        }
    }

    /// Writes the header of an empty file, both pages.
    static func format(
        _ disk: any CacheFileDisk, _ layout: CacheFileLayout, _ options: CacheFileOptions, token: UInt32
    ) throws(BlockStoreError) -> (CacheFileHeader, CacheFileSeal) {
        var header = CacheFileHeader(layout: layout, identity: options.identity, isEncrypted: options.key != nil)
        let seal = CacheFileSeal(
            key: options.key ?? SecretBytes(header.checkKey), fileID: header.fileID, isEncrypted: options.key != nil)
        header.keyTag = seal.keyTag(nonce: header.keyNonce)
        header.token = token
        for _ in 0..<2 {
            header.generation += 1
            try header.write(to: disk)
        }
        try disk.settle()
        return (header, seal)
    }

    /// Removes what a start that was cut short has left at `temporary`, on the way to a file at `path`.
    private static func removeLeftover(_ temporary: String, of path: String) throws(CacheFileError) {
        guard let disk = try CacheFileLocalDisk(path: temporary, access: .reading, isAdvised: false) else { return }
        let isOurs = try onDisk(temporary) { () throws(BlockStoreError) in
            try withScratch(CacheFileLayout.headerSize) { page throws(BlockStoreError) in
                try disk.read(into: page, at: 0)
                let page = UnsafeRawBufferPointer(page)
                return page.isBlank || CacheFileHeader.version(of: page) != nil
            }
        }
        guard isOurs else {
            throw CacheFileLocalDisk.refusal(
                .io, path, "\"\(temporary)\" is in the way of a new one and no leftover of one; move that away")
        }
        guard unlink(temporary) == 0 else {
            throw CacheFileLocalDisk.refusal(
                .io, path, "its leftover \"\(temporary)\" cannot be removed: \(CacheFileLocalDisk.reason(errno)); remove it")
        }
    }

    /// Copies blocks and zeros to a new file, what the store does not have first.
    private func copy(to file: CacheFile) throws(BlockStoreError) {
        let found = scan.withLock { $0 }
        guard let found else { return }
        let zeros = found.zeros.blocks
        try file.recordZeros(zeros)
        let ordered = found.blocks.filter(\.isDirty) + found.blocks.filter { !$0.isDirty }
        for (number, block) in ordered.prefix(file.slotCount).enumerated() {
            let target = CacheSlot(rawValue: UInt32(number))
            try file.assign(target, to: block.block)
            if try copy(block, .store, to: file, target), !zeros.contains(block.block) {
                let version = version(of: block.block, in: CacheSlot(rawValue: UInt32(block.slot)))
                try file.setVersion(version, of: block.block, in: target, upTo: file.mark)
            }
            _ = try copy(block, .user, to: file, target)
        }
    }

    /// Copies the clean or the dirty sectors of a block.
    ///
    /// - Returns: Whether there were any.
    private func copy(
        _ block: CacheFileScan.Found, _ origin: CacheOrigin, to file: CacheFile, _ target: CacheSlot
    ) throws(BlockStoreError) -> Bool {
        let size = layout.sectorSize
        var isAny = false
        for sector in 0..<layout.sectorsPerBlock {
            let bit: UInt64 = 1 << UInt64(sector % 64)
            guard block.valid[sector / 64] & bit != 0 else { continue }
            let isDirty = block.dirty[sector / 64] & bit != 0
            guard isDirty == (origin == .user) else { continue }
            let range = sector * size..<(sector + 1) * size
            try withScratch(size) { bytes throws(BlockStoreError) in
                do throws(BlockStoreError) {
                    try read(range, of: block.block, in: CacheSlot(rawValue: UInt32(block.slot)), into: bytes)
                } catch {
                    // The store has it; a sector of which it has nothing was checked when the file was opened.
                    guard error.code == .corrupt, !isDirty else { throw error }
                    return
                }
                let obstacle = try file.attemptWrite(
                    UnsafeRawBufferPointer(bytes), at: range, of: block.block, in: target, origin)
                precondition(obstacle == nil, "a sector's first version goes home")
                isAny = true
            }
        }
        return isAny
    }
}
