// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a mount needs to know, beside the disk.
public struct FUSESettings: Sendable {
    /// The directory to mount on.
    public var mountPoint: String
    /// What /proc/mounts shows as the source: where the volume is, in words.
    public var sourceName: String
    /// The user's own `-o` options, in the order given; each may be a list with commas. Generic ones that mount(8) deals with
    /// itself (`_netdev`, `noauto`, `user`, `x-systemd.*`) are taken out before.
    public var options: [String]
    /// The name of the file that is the disk; not empty, without a slash.
    public var fileName: String
    /// The name of the statistics file, without a slash; empty hides it.
    public var statisticsFileName: String
    /// The permissions of the file that is the disk, as chmod(2) has them.
    public var fileMode: UInt32
    /// The owner of everything.
    public var userID: UInt32
    /// The group of everything.
    public var groupID: UInt32
    /// Whether the page cache is bypassed; then synchronous writers run side by side, but mmap(MAP_SHARED) fails.
    public var isDirectIO: Bool
    /// Whether libfuse logs each request, at level debug.
    public var isDebug: Bool

    /// Spells out every setting.
    public init(
        mountPoint: String, sourceName: String, options: [String], fileName: String, statisticsFileName: String,
        fileMode: UInt32, userID: UInt32, groupID: UInt32, isDirectIO: Bool, isDebug: Bool
    ) {
        self.mountPoint = mountPoint
        self.sourceName = sourceName
        self.options = options
        self.fileName = fileName
        self.statisticsFileName = statisticsFileName
        self.fileMode = fileMode
        self.userID = userID
        self.groupID = groupID
        self.isDirectIO = isDirectIO
        self.isDebug = isDebug
    }

    /// Checks what can be checked without touching the machine; worth doing before anything is asked of the store.
    ///
    /// - Throws: `.badOption` for an unknown or malformed option, or for a file name that cannot be one.
    public func validate() throws(FUSEError) {
        _ = try MountOptions(parsing: options)
        try Self.validate(name: fileName, isEmptyAllowed: false)
        try Self.validate(name: statisticsFileName, isEmptyAllowed: true)
        guard fileName != statisticsFileName else {
            throw FUSEError(
                .badOption, "cannot name the disk and the statistics \"\(fileName)\" both: choose two names")
        }
    }

    /// Looks whether something can be mounted on ``mountPoint``; worth doing before anything is asked of the store.
    ///
    /// - Returns: The absolute path without symbolic links, which stays right when the process leaves its directory.
    /// - Throws: `.badMountPoint`, `.unavailable`; see ``FUSESession/mount()``, which looks again.
    public func resolveMountPoint() throws(FUSEError) -> String { try MountPoint.check(mountPoint) }

    private static func validate(name: String, isEmptyAllowed: Bool) throws(FUSEError) {
        let bytes = name.utf8
        let isGood =
            name != "." && name != ".." && !bytes.contains(UInt8(ascii: "/")) && !bytes.contains(0) && bytes.count <= 255
            && (isEmptyAllowed || !bytes.isEmpty)
        guard isGood else {
            throw FUSEError(.badOption, "cannot name a file \"\(name)\": not a file name; choose one without a slash")
        }
    }
}
