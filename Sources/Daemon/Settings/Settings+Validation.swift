// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Volumes

extension Settings {
    /// Checks a command line as a whole. The first thing that is wrong is reported.
    ///
    /// Reads the environment and the access file, and touches nothing.
    ///
    /// - Throws: The user's line.
    init(_ words: CommandLineWords, in surroundings: Surroundings) throws(UserError) {
        let options = try ParsedOptions.read(words.options)
        var warnings = words.warnings
        let isReadOnly = options.readOnly || words.isReadOnly
        var credentials: CredentialSettings?
        if !options.test { credentials = try .find(options, in: surroundings, warnings: &warnings) }
        if credentials == nil, !options.test, !isReadOnly, options.baseURL == nil {
            warnings += [
                "warning: no \"accessId\" was given; requests are sent unsigned",
                "warning: to sign them, put a line ID:SECRET into $HOME/.s3backer_passwd, or use \"--accessFile\"",
            ]
        }
        let signature = try Self.choice(
            options.authVersion, .authVersion, of: BucketSettings.Signature.self, default: .aws4)
        let place = try Self.place(words, options)
        layout = LayoutSettings(prefix: place.prefix, isHashed: options.blockHashPrefix)
        let objects = try ObjectSettings(options)
        if options.test {
            store = .directory(place.name)
        } else {
            let bucket = try BucketSettings(
                options, bucket: place.name, credentials: credentials, signature: signature, objects: objects)
            store = .s3(bucket)
        }
        fileSystem = try FileSystemSettings(options, words, isReadOnly: isReadOnly, in: surroundings)
        if options.statsFileMirrorInterval != nil, options.statsFileMirror == nil {
            warnings.append("warning: \"--statsFileMirrorInterval\" has no effect without \"--statsFileMirror\"")
        }
        codec = try CodecSettings(options, warnings: &warnings)
        consistency = try ConsistencySettings(options, isReadOnly: isReadOnly)
        survey = try SurveySettings(options, warnings: &warnings)
        geometry = try GeometrySettings(options)
        try Self.check(blockSize: geometry.blockSize, codec.encryption)
        if case .s3(let bucket) = store { try bucket.connection.check(blockSize: geometry.blockSize ?? 0) }
        cache = try BlockCacheSettings(options, isReadOnly: isReadOnly, warnings: &warnings)
        command = try Self.command(words, options)
        process = ProcessSettings(
            isForeground: words.isForeground, isDebug: options.debug || options.debugHTTP, isFUSEDebug: words.isFUSEDebug,
            isQuiet: options.quiet)
        given = words.options.map(GivenOption.init)
        self.warnings = warnings
    }

    private static func command(_ words: CommandLineWords, _ options: ParsedOptions) throws(UserError) -> Command {
        if words.positionals.count > 2 {
            throw UserError("unexpected argument \"\(words.positionals[2])\" after the mount point; put options in front")
        }
        let mountPoint = words.positionals.dropFirst().first
        let (reset, change) = (OptionDescription.resetMountedFlag, OptionDescription.changePassword)
        guard !options.resetMountedFlag || !options.changePassword else {
            throw UserError("cannot use \"--\(reset.name)\" and \"--\(change.name)\" together: give one after the other")
        }
        if options.resetMountedFlag || options.changePassword {
            let mode = options.resetMountedFlag ? reset : change
            if let mountPoint {
                throw UserError(
                    "cannot use mount point \"\(mountPoint)\" with \"--\(mode.name)\": nothing is mounted; leave it out")
            }
            if options.resetMountedFlag { return .resetMountToken }
            return .changePassword(to: options.newPasswordFile.map(PasswordSource.file) ?? .terminal)
        }
        guard let mountPoint, !mountPoint.isEmpty else {
            throw UserError("cannot mount: no mount point was given; write \"s3backer BUCKET MOUNTPOINT\"")
        }
        return .mount(at: mountPoint)
    }

    private static func place(
        _ words: CommandLineWords, _ options: ParsedOptions
    ) throws(UserError) -> (name: String, prefix: String) {
        let prefix = options.prefix ?? ""
        guard let place = words.positionals.first else {
            throw UserError(
                options.test
                    ? "cannot find the disk: no directory was given; write \"s3backer --test DIRECTORY MOUNTPOINT\""
                    : "cannot find the disk: no S3 bucket was given; write \"s3backer BUCKET[/SUBDIR] MOUNTPOINT\"")
        }
        if options.test {
            guard !place.isEmpty else { throw UserError("invalid test directory \"\": give the path of a directory") }
            return (place, prefix)
        }
        guard let slash = place.firstIndex(of: "/") else {
            guard !place.isEmpty else { throw UserError("invalid S3 bucket \"\": give the name of a bucket") }
            return (place, prefix)
        }
        let subdirectory = place[place.index(after: slash)...]
        guard slash > place.startIndex else {
            throw UserError("invalid S3 bucket \"\(place)\": a bucket's name does not start with a slash")
        }
        guard !subdirectory.isEmpty, !subdirectory.hasPrefix("/"), !subdirectory.hasSuffix("/"), !subdirectory.contains("//")
        else {
            throw UserError("invalid S3 bucket/prefix \"\(place)\": single slashes stand between names, and nowhere else")
        }
        guard options.prefix == nil else {
            throw UserError("cannot use bucket/prefix \"\(place)\" together with \"--prefix\": give the prefix once")
        }
        return (String(place[..<slash]), subdirectory + "/")
    }

    /// - Source: s3backer(1), "ENCRYPTION": the C program refuses blocks that are no multiple of 16 bytes.
    private static func check(blockSize: Int?, _ encryption: EncryptionSettings?) throws(UserError) {
        guard let blockSize, blockSize < 16, let encryption, encryption.scheme != .aes256GCM else { return }
        throw UserError("invalid block size \"\(blockSize)\": encrypted blocks have at least 16 bytes")
    }

    /// One of the words that an option knows.
    static func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ text: String?, _ option: OptionDescription, of: Choice.Type, default standard: Choice
    ) throws(UserError) -> Choice {
        guard let text else { return standard }
        guard let choice = Choice(rawValue: text) else {
            let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw UserError("invalid value \"\(text)\" for \"--\(option.name)\": use one of \(known)")
        }
        return choice
    }

    /// Checks that a text is one of the words that an option knows.
    static func checked(_ text: String?, _ option: OptionDescription, oneOf known: [String]) throws(UserError) -> String? {
        guard let text, !known.contains(text) else { return text }
        throw UserError("invalid value \"\(text)\" for \"--\(option.name)\": use one of \(known.joined(separator: ", "))")
    }
}
