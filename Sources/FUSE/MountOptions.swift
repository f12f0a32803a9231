// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The `-o` options of a mount, sorted into those that this library acts on and those that go to libfuse and the kernel.
///
/// libfuse's low-level interface knows only what concerns the mount itself. Everything that fuse(8) lists beside that
/// (time-outs, owner, caching) belongs to its high-level interface, so it is read here. Parsing is pure: a mistyped option is
/// found before a volume is opened.
///
/// - Source: fuse(8), mount.fuse3(8).
struct MountOptions: Sendable, Equatable {
    /// What is handed on, in the order given.
    var kernelOptions: [String] = []
    /// How long the kernel may believe that a name leads to a file, in seconds. The names never change.
    var entryTimeout = MountOptions.forever
    /// How long the kernel may believe that there is no such name, in seconds.
    var negativeTimeout = MountOptions.forever
    /// How long the kernel may believe the attributes of the root and of the disk, in seconds. The size is fixed, and the
    /// kernel drops the times by itself when it reads or writes. The statistics file always has zero.
    var attributeTimeout = MountOptions.forever
    /// The owner of everything, instead of the process's.
    var userID: UInt32?
    /// The group of everything, instead of the process's.
    var groupID: UInt32?
    /// Permissions that are taken from all files, and given where it has no bit, as umask(2) has them.
    var umask: UInt32?
    /// Whether the page cache is bypassed.
    var isDirectIO = false
    /// Whether pages stay in the cache from one open to the next.
    var keepsCache = true
    /// Requests that the kernel keeps in flight on nobody's behalf: read-ahead, asynchronous I/O. The kernel's own default of
    /// 12 would hold a store with an answer time of 20 ms below 600 requests a second.
    var maxBackground: UInt32 = 1024
    /// From how many such requests on the kernel holds back; three quarters of the maximum unless given.
    var congestionThreshold: UInt32?
    /// The most bytes that one write request carries. The kernel's limit is 256 pages.
    var maxWrite: UInt32 = 1 << 20
    /// The most bytes that the kernel reads ahead; nil leaves the kernel's choice.
    var maxReadahead: UInt32?
    /// How many threads take requests from the kernel; nil leaves the choice to the session.
    var threadCountMax: UInt32?
    /// Whether libfuse logs each request.
    var isDebug = false

    /// One year, as the C program has it.
    static let forever = 31_536_000.0

    /// Options that go on as they are.
    private static let kernelFlags: Set<String> = [
        "rw", "ro", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "async", "sync", "dirsync", "atime", "noatime",
        "allow_other", "allow_root", "default_permissions", "auto_unmount",
    ]
    /// Options with a value that go on as they are.
    private static let kernelValues: Set<String> = [
        "max_read", "fsname", "subtype", "context", "fscontext", "defcontext", "rootcontext",
    ]
    /// Options of fuse(8) that have nothing to act on here: there are three fixed inodes, no hidden files, no modules, always
    /// several threads with a descriptor each, and a request is never cut short by a signal.
    private static let withoutEffect: Set<String> = [
        "kernel_cache", "use_ino", "readdir_ino", "hard_remove", "noforget", "remember", "nullpath_ok", "intr",
        "intr_signal", "ac_attr_timeout", "clone_fd", "max_idle_threads", "async_read", "nonempty", "big_writes",
    ]

    /// The options of an empty list.
    init() {}

    /// Sorts `lists`, each of which may hold several options with commas between; `\,` is a comma within a value.
    ///
    /// - Throws: `.badOption` for one that is unknown or has a value that makes no sense.
    init(parsing lists: [String]) throws(FUSEError) {
        for list in lists {
            for option in Self.split(list) where !option.isEmpty { try accept(option) }
        }
    }

    /// Cuts a list at its commas and takes out the escapes.
    static func split(_ list: String) -> [String] {
        var options = [""]
        var isEscaped = false
        for character in list.unicodeScalars {
            if isEscaped {
                options[options.count - 1].unicodeScalars.append(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "," {
                options.append("")
            } else {
                options[options.count - 1].unicodeScalars.append(character)
            }
        }
        return options
    }

    /// Puts the escapes in that ``split(_:)`` takes out.
    static func escape(_ option: String) -> String {
        var escaped = String.UnicodeScalarView()
        for character in option.unicodeScalars {
            if character == "," || character == "\\" { escaped.append("\\") }
            escaped.append(character)
        }
        return String(escaped)
    }

    private mutating func accept(_ option: String) throws(FUSEError) {
        let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let name = parts[0]
        guard parts.count == 2 else {
            guard acceptFlag(name) else { throw Self.unknown(option) }
            return
        }
        if Self.kernelValues.contains(name) {
            kernelOptions.append(option)
        } else if !Self.withoutEffect.contains(name) {
            try acceptValue(parts[1], of: name)
        }
    }

    private mutating func acceptFlag(_ name: String) -> Bool {
        switch name {
        case "direct_io": isDirectIO = true
        case "auto_cache": keepsCache = false
        case "debug": isDebug = true
        case _ where Self.kernelFlags.contains(name): kernelOptions.append(name)
        default: return Self.withoutEffect.contains(name)
        }
        return true
    }

    private mutating func acceptValue(_ value: String, of name: String) throws(FUSEError) {
        switch name {
        case "entry_timeout": entryTimeout = try Self.seconds(value, of: name)
        case "negative_timeout": negativeTimeout = try Self.seconds(value, of: name)
        case "attr_timeout": attributeTimeout = try Self.seconds(value, of: name)
        case "uid": userID = try Self.number(value, of: name, in: 0...UInt32.max)
        case "gid": groupID = try Self.number(value, of: name, in: 0...UInt32.max)
        case "umask": umask = try Self.number(value, of: name, in: 0...0o777, radix: 8)
        // The kernel keeps both in 16 bits.
        case "max_background": maxBackground = try Self.number(value, of: name, in: 1...65535)
        case "congestion_threshold": congestionThreshold = try Self.number(value, of: name, in: 1...65535)
        case "max_write": maxWrite = try Self.number(value, of: name, in: 4096...(1 << 20))
        case "max_readahead": maxReadahead = try Self.number(value, of: name, in: 0...UInt32.max)
        case "max_threads": threadCountMax = try Self.number(value, of: name, in: 1...1024)
        default: throw Self.unknown("\(name)=...")
        }
    }

    private static func seconds(_ value: String, of name: String) throws(FUSEError) -> Double {
        guard let seconds = Double(value), seconds.isFinite, seconds >= 0 else { throw malformed(value, of: name) }
        return seconds
    }

    private static func number(
        _ value: String, of name: String, in range: ClosedRange<UInt32>, radix: Int = 10
    ) throws(FUSEError) -> UInt32 {
        guard let number = UInt32(value, radix: radix), range.contains(number) else { throw malformed(value, of: name) }
        return number
    }

    private static func malformed(_ value: String, of name: String) -> FUSEError {
        FUSEError(.badOption, "cannot use the mount option \"\(name)=\(value)\": the value makes no sense; see fuse(8)")
    }

    /// - Parameter option: Its name, without the value: that may be a secret, meant for an option of another name.
    private static func unknown(_ option: String) -> FUSEError {
        FUSEError(.badOption, "cannot use the mount option \"\(option)\": there is no such option; see s3backer(1) and fuse(8)")
    }
}

extension MountOptions {
    /// The arguments for libfuse: what every mount has first, then the user's own, which win.
    ///
    /// - Parameters:
    ///   - sourceName: See ``FUSESettings/sourceName``.
    ///   - isReadOnly: Whether the kernel shall refuse writes by itself.
    func arguments(sourceName: String, isReadOnly: Bool) -> [String] {
        var options = ["fsname=\(sourceName)", "subtype=s3backer", "default_permissions", "nodev", "nosuid"]
        if !kernelOptions.contains("allow_root") { options.append("allow_other") }
        options += kernelOptions
        // Last, so that no "rw" of the user overrides it.
        if isReadOnly { options.append("ro") }
        if isDebug { options.append("debug") }
        return ["s3backer", "-o", options.map(Self.escape).joined(separator: ",")]
    }

}
