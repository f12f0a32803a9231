// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Everything the user has decided, checked; made before anything on disk or on S3 is touched, and never changed after.
struct Settings: Sendable {
    /// What is to be done.
    enum Command: Sendable {
        /// Serve the disk at this mount point, as the user wrote it.
        case mount(at: String)
        /// Remove the mount token.
        case resetMountToken
        /// Change the password, to the one that is found there.
        case changePassword(to: PasswordSource)

        /// Whether a disk is served.
        var isMount: Bool {
            if case .mount = self { true } else { false }
        }
    }

    /// What is to be done.
    let command: Command
    /// Where the objects are.
    var store: StoreSettings
    /// What the objects are called.
    let layout: LayoutSettings
    /// What is done to blocks between memory and store.
    let codec: CodecSettings
    /// What is remembered of written blocks; nil is nothing.
    let consistency: ConsistencySettings?
    /// How the blocks that exist are found out; nil is not at all.
    let survey: SurveySettings?
    /// How large the disk is.
    let geometry: GeometrySettings
    /// What is kept near, and when it goes to the store; nil is nothing.
    var cache: BlockCacheSettings?
    /// What the mounted directory looks like.
    var fileSystem: FileSystemSettings
    /// How the process behaves.
    let process: ProcessSettings
    /// The options as given, for the log; secrets are asterisks.
    let given: [GivenOption]
    /// Lines for the user about what is accepted, but perhaps not meant.
    let warnings: [String]

    /// The volume in messages: `bucket "b/vm1"`, `directory "/srv/disk"`.
    var volumeName: String {
        switch store {
        case .directory(let path): "directory \"\(path)\"" + (layout.prefix.isEmpty ? "" : ", prefix \"\(layout.prefix)\"")
        case .s3(let bucket):
            "bucket \"\(bucket.bucket)" + (layout.prefix.isEmpty ? "" : "/" + layout.prefix.trimmingSlash) + "\""
        }
    }

    /// The volume as its cache file knows it: where it is, however it is reached, so without the scheme, and the same whether the
    /// bucket stands in the host name or in the path.
    var volumeIdentity: String {
        switch store {
        case .directory(let path): "directory \(path)/\(layout.prefix)"
        case .s3(let bucket): "s3 \(bucket.host)/\(bucket.bucket)/\(layout.prefix)"
        }
    }

    /// The volume's address, and the source in /proc/mounts: `http://host/bucket/prefix`, `file:///directory/prefix`.
    var volumeDescription: String {
        switch store {
        case .directory(let path): "file://\(path)/\(layout.prefix)"
        case .s3(let bucket): bucket.url + layout.prefix
        }
    }
}

extension String {
    /// The text without the slash it may end with.
    fileprivate var trimmingSlash: Substring { hasSuffix("/") ? dropLast() : self[...] }
}

/// Where the objects are.
enum StoreSettings: Sendable {
    /// In a local directory (`--test`).
    case directory(String)
    /// In a bucket.
    case s3(BucketSettings)
}

/// What the objects are called.
struct LayoutSettings: Equatable, Sendable {
    /// In front of every object name.
    let prefix: String
    /// Whether a hash stands in front of block names.
    let isHashed: Bool
}

/// How large the disk is, as far as the user says so.
struct GeometrySettings: Equatable, Sendable {
    /// The bytes of the disk; nil asks the store.
    let sizeBytes: UInt64?
    /// The bytes of a block, a power of two below 2^32; nil asks the store.
    let blockSize: Int?
    /// Whether the store is asked at all.
    let isAutoDetected: Bool
    /// Whether the user's sizes, and the user's mount, win over what the store says (`--force`).
    let isForced: Bool
}

/// What the mounted directory looks like.
struct FileSystemSettings: Equatable, Sendable {
    /// The disk's name.
    let fileName: String
    /// The disk's permission bits.
    let fileMode: UInt32
    /// The statistics file's name; nil means none.
    let statisticsFileName: String?
    /// Where a copy of the statistics is kept; nil means nowhere.
    var statisticsMirror: StatisticsMirrorSettings?
    /// Whether the disk stays out of the kernel's page cache.
    let isDirectIO: Bool
    /// Whether every change is refused.
    let isReadOnly: Bool
    /// The owner of everything, unless a word for FUSE says otherwise.
    let userID: UInt32
    /// The group of everything, unless a word for FUSE says otherwise.
    let groupID: UInt32
    /// Words for FUSE, as they stand in a `-o` list.
    let fuseOptions: [String]
}

/// A copy of the statistics in an ordinary file.
struct StatisticsMirrorSettings: Equatable, Sendable {
    /// The file.
    var path: String
    /// The time from one copy to the next; more than zero.
    let interval: Duration
}

/// An option as the user gave it.
struct GivenOption: Equatable, Sendable {
    /// Its name, without dashes.
    let name: String
    /// Its value; `true` for a switch, asterisks for a secret.
    let value: String

    /// Reads a word of the form `--NAME` or `--NAME=VALUE`.
    init(word: String) {
        let (dashed, value) = splitAtEquals(word)
        let name = String(dashed.dropFirst(2))
        let isSecret = OptionTable.option(named: name)?.isSecret ?? false
        self.name = name
        self.value = isSecret ? Secret("").description : value ?? "true"
    }
}

/// How the process behaves.
struct ProcessSettings: Equatable, Sendable {
    /// Whether it stays in the foreground.
    let isForeground: Bool
    /// Whether every request is logged; so too when only the headers were asked for, which are part of that.
    let isDebug: Bool
    /// Whether libfuse logs what the kernel asks, too (`-d`).
    let isFUSEDebug: Bool
    /// Whether the progress of the start is kept back.
    let isQuiet: Bool
}
