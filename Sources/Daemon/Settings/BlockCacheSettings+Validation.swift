// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores

extension BlockCacheSettings {
    /// Checks what the options say about the block cache; nil when there is none.
    ///
    /// - Parameter warnings: Gets a line for each option that has no effect.
    /// - Throws: What contradicts itself, and what needs a cache file that was not given.
    init?(_ options: ParsedOptions, isReadOnly: Bool, warnings: inout [String]) throws(UserError) {
        let flushMode = try Settings.choice(options.flush, .flush, of: CacheSettings.FlushMode.self, default: .remote)
        let file = try CacheFileSettings(options, isReadOnly: isReadOnly, warnings: &warnings)
        if flushMode == .local, file == nil {
            throw UserError("cannot use \"--flush=local\": there is no local file to flush to; add \"--blockCacheFile\"")
        }
        guard options.blockCacheThreads?.value != 0 else {
            throw UserError("cannot use \"--blockCacheThreads=0\": nothing would be written back; give at least 1")
        }
        let behaviour = try Self.behaviour(options, flushMode)
        guard options.blockCacheSize?.value != 0 else {
            guard let file else {
                Self.warnOfEffectless(options, &warnings)
                return nil
            }
            throw UserError(
                "cannot use \"--blockCacheFile=\(file.path)\" with \"--blockCacheSize=0\": there is no cache to keep in it; "
                    + "give another size, or leave the file out")
        }
        self.init(
            slotCount: options.blockCacheSize?.value, readAheadMax: options.readAhead?.value, behaviour: behaviour, file: file)
    }

    /// What a local flush has made durable need not hurry to the store: a block that is written again and again goes there once, and
    /// write-back does not take the disk from those who flush.
    private static let localWriteDelay = Duration.seconds(5)

    private static func behaviour(
        _ options: ParsedOptions, _ flushMode: CacheSettings.FlushMode
    ) throws(UserError) -> CacheSettings {
        var settings = CacheSettings(slotCount: 1)
        if let threads = options.blockCacheThreads?.value { settings.uploadsMax = threads }
        if let delay = options.blockCacheWriteDelay?.value {
            settings.writeDelay = .milliseconds(delay)
        } else if flushMode == .local {
            settings.writeDelay = localWriteDelay
        }
        if options.blockCacheSync {
            if let delay = options.blockCacheWriteDelay?.value, delay != 0 {
                throw UserError(
                    "cannot use \"--blockCacheSync\" with \"--blockCacheWriteDelay=\(delay)\": writes that wait for the store must "
                        + "not be delayed; leave the delay out or give 0")
            }
            settings.writeDelay = .zero
            settings.isSynchronous = true
        }
        if let time = options.blockCacheTimeout?.value, time != 0 { settings.keptFor = .milliseconds(time) }
        if let blocks = options.blockCacheMaxDirty?.value, blocks != 0 { settings.dirtyMax = blocks }
        settings.protectedCount = options.blockCacheNumProtected?.value ?? 0
        if let blocks = options.readAheadTrigger?.value { settings.readAheadTrigger = max(1, blocks) }
        settings.flushMode = flushMode
        if let seconds = options.flushTimeout?.value, seconds != 0 { settings.flushTimeout = .seconds(seconds) }
        settings.verifiesRestored = !options.blockCacheNoVerify
        return settings
    }

    /// A line for each option of a cache that there is none of.
    private static func warnOfEffectless(_ options: ParsedOptions, _ warnings: inout [String]) {
        let given: [(OptionDescription, Bool)] = [
            (.blockCacheThreads, options.blockCacheThreads != nil), (.blockCacheWriteDelay, options.blockCacheWriteDelay != nil),
            (.blockCacheTimeout, options.blockCacheTimeout != nil), (.blockCacheMaxDirty, options.blockCacheMaxDirty != nil),
            (.blockCacheSync, options.blockCacheSync),
            (.blockCacheNumProtected, options.blockCacheNumProtected != nil), (.flushTimeout, options.flushTimeout != nil),
            (.readAhead, options.readAhead != nil), (.readAheadTrigger, options.readAheadTrigger != nil),
        ]
        for (option, isGiven) in given where isGiven {
            warnings.append("warning: \"--\(option.name)\" has no effect with \"--blockCacheSize=0\"")
        }
    }
}

extension CacheFileSettings {
    /// Checks what the options say about the cache file; nil when there is none.
    init?(_ options: ParsedOptions, isReadOnly: Bool, warnings: inout [String]) throws(UserError) {
        let recovery = try options.recoverDirty.map { (text) throws(UserError) in
            try Settings.choice(text, .recoverDirty, of: DirtyRecovery.self, default: .apply)
        }
        guard let path = options.blockCacheFile else {
            try Self.refuse(options, recovery)
            for (option, isGiven) in [
                (OptionDescription.blockCacheNoVerify, options.blockCacheNoVerify),
                (.blockCacheFileAdvise, options.blockCacheFileAdvise), (.blockCachePlain, options.blockCachePlain),
            ] where isGiven {
                warnings.append("warning: \"--\(option.name)\" has no effect without \"--blockCacheFile\"")
            }
            return nil
        }
        guard !path.isEmpty, !path.hasSuffix("/") else {
            throw UserError("invalid file \"\(path)\" for \"--blockCacheFile\": give the path of a file")
        }
        if isReadOnly, let recovery {
            throw UserError(
                "cannot use \"--recoverDirty=\(recovery.rawValue)\" with \"--readOnly\": nothing is written; mount once without "
                    + "\"--readOnly\"")
        }
        if options.blockCachePlain, options.encrypt == nil {
            warnings.append("warning: \"--blockCachePlain\" has no effect without \"--encrypt\"")
        }
        self.init(
            path: path, recovery: recovery, isAdvised: options.blockCacheFileAdvise, isPlain: options.blockCachePlain)
    }

    /// Refuses what would be about data that no file holds.
    private static func refuse(_ options: ParsedOptions, _ recovery: DirtyRecovery?) throws(UserError) {
        if options.blockCacheRecoverDirtyBlocks {
            throw UserError(
                "cannot use \"--blockCacheRecoverDirtyBlocks\": there is no file to recover from; add \"--blockCacheFile\"")
        }
        guard let recovery else { return }
        throw UserError(
            "cannot use \"--recoverDirty=\(recovery.rawValue)\": there is no file to recover from; add \"--blockCacheFile\"")
    }
}
