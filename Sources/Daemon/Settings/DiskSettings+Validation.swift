// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension GeometrySettings {
    /// Checks what the options say about sizes; what they leave open, the store decides.
    init(_ options: ParsedOptions) throws(UserError) {
        blockSize = try Self.blockSize(options.blockSize)
        sizeBytes = try Self.diskSize(options.size, blockSize: blockSize)
        isAutoDetected = !options.noAutoDetect
        isForced = options.force
        guard isAutoDetected || sizeBytes != nil || options.resetMountedFlag || options.changePassword else {
            throw UserError("cannot mount with \"--noAutoDetect\": the size is not known; use \"--size\"")
        }
    }

    private static func blockSize(_ size: ByteSize?) throws(UserError) -> Int? {
        guard let size else { return nil }
        guard size.count < 1 << 32 else {
            throw UserError("invalid block size \"\(size)\": it is too large; the largest is 2g")
        }
        guard size.count & (size.count - 1) == 0 else {
            throw UserError("invalid block size \"\(size)\": it must be a power of two")
        }
        return Int(size.count)
    }

    private static func diskSize(_ size: ByteSize?, blockSize: Int?) throws(UserError) -> UInt64? {
        guard let size else { return nil }
        guard size.count <= UInt64(Int64.max) else {
            throw UserError("invalid file size \"\(size)\": a file cannot be that large; the largest is just below 8e")
        }
        guard let blockSize = blockSize.map(UInt64.init) else { return size.count }
        guard size.count.isMultiple(of: blockSize) else {
            throw UserError(
                "invalid file size \"\(size)\": it must be a multiple of the block size \(ByteSize(count: blockSize))")
        }
        guard size.count / blockSize < 1 << 32 else {
            throw UserError("cannot have more than 2^32 blocks: decrease \"--size\" or increase \"--blockSize\"")
        }
        return size.count
    }
}

extension FileSystemSettings {
    /// Checks what the options say about the mounted directory.
    init(
        _ options: ParsedOptions, _ words: CommandLineWords, isReadOnly: Bool, in surroundings: Surroundings
    ) throws(UserError) {
        fileName = options.filename ?? "file"
        let statisticsName = options.statsFilename ?? "stats"
        try Self.check(name: fileName, of: .filename)
        if !statisticsName.isEmpty { try Self.check(name: statisticsName, of: .statsFilename) }
        guard fileName != statisticsName else {
            throw UserError("cannot use \"\(fileName)\" for the disk and for the statistics: change \"--statsFilename\"")
        }
        statisticsFileName = statisticsName.isEmpty ? nil : statisticsName
        statisticsMirror = try Self.mirror(options)
        fileMode = options.fileMode?.bits ?? (isReadOnly ? 0o400 : 0o600)
        isDirectIO = options.directIO
        self.isReadOnly = isReadOnly
        userID = surroundings.userID
        groupID = surroundings.groupID
        fuseOptions = words.fuseOptions + (words.isSingleThreaded ? ["max_threads=1"] : [])
    }

    private static func mirror(_ options: ParsedOptions) throws(UserError) -> StatisticsMirrorSettings? {
        let milliseconds = options.statsFileMirrorInterval?.value ?? 1000
        guard milliseconds > 0 else {
            throw UserError("cannot use \"--statsFileMirrorInterval=0\": copies need some time between them; give milliseconds")
        }
        guard let path = options.statsFileMirror else { return nil }
        guard !path.isEmpty, !path.hasSuffix("/") else {
            throw UserError("invalid file \"\(path)\" for \"--statsFileMirror\": give the path of a file")
        }
        return StatisticsMirrorSettings(path: path, interval: .milliseconds(milliseconds))
    }

    private static func check(name: String, of option: OptionDescription) throws(UserError) {
        guard !name.isEmpty, !name.contains("/"), name != ".", name != "..", name.utf8.count <= 255 else {
            throw UserError("invalid file name \"\(name)\" for \"--\(option.name)\": give a plain name without slashes")
        }
    }
}
