// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let blockCacheSize = OptionDescription(
        name: "blockCacheSize", .number("BLOCKS"), .cache, "Blocks that the cache holds; 0: no cache",
        default: "256 MiB, 64 ... 65536")
    static let blockCacheThreads = OptionDescription(
        name: "blockCacheThreads", .number("NUM"), .cache, "Blocks that are written back at once", default: "80")
    static let blockCacheWriteDelay = OptionDescription(
        name: "blockCacheWriteDelay", .number("MILLIS"), .cache, "How long a written block waits",
        default: "250; 5000 if flushed locally")
    static let blockCacheTimeout = OptionDescription(
        name: "blockCacheTimeout", .number("MILLIS"), .cache, "How long an unused block is kept; 0 is for ever", default: "0")
    static let blockCacheMaxDirty = OptionDescription(
        name: "blockCacheMaxDirty", .number("BLOCKS"), .cache, "Blocks not yet in the store; 0: as the cache holds",
        default: "0")
    static let blockCacheSync = OptionDescription(
        name: "blockCacheSync", .flag, .cache, "Each write waits until its block is in the store")
    static let blockCacheNumProtected = OptionDescription(
        name: "blockCacheNumProtected", .number("BLOCKS"), .cache, "First blocks that are evicted last", default: "0")
    static let blockCacheFile = OptionDescription(
        name: "blockCacheFile", .text("FILE"), .cache, "Keep the cache in a file that outlives the process")
    static let blockCacheNoVerify = OptionDescription(
        name: "blockCacheNoVerify", .flag, .cache, "Use blocks of an earlier mount without asking the store")
    static let blockCacheFileAdvise = OptionDescription(
        name: "blockCacheFileAdvise", .flag, .cache, "Keep the cache file out of the kernel's page cache")
    static let blockCachePlain = OptionDescription(
        name: "blockCachePlain", .flag, .cache, "Do not encrypt the cache file, in spite of --encrypt")
    static let blockCacheRecoverDirtyBlocks = OptionDescription(
        name: "blockCacheRecoverDirtyBlocks", .flag, .cache, "No effect: this is what always happens")
    static let recoverDirty = OptionDescription(
        name: "recoverDirty", .text("WHAT"), .cache, "Unsaved data for a volume used since: apply or discard")
    static let flush = OptionDescription(
        name: "flush", .text("WHERE"), .cache, "Where fsync wants the data: remote or local", default: "remote")
    static let flushTimeout = OptionDescription(
        name: "flushTimeout", .number("SECONDS"), .cache, "How long fsync waits for the store; 0: without end", default: "0")
    static let readAhead = OptionDescription(
        name: "readAhead", .number("BLOCKS"), .cache, "Blocks read ahead at most; 0 is off", default: "16 MiB, 4 ... 128")
    static let readAheadTrigger = OptionDescription(
        name: "readAheadTrigger", .number("BLOCKS"), .cache, "Blocks in order before reading ahead", default: "2")

    /// What is kept near, and when it goes to the store.
    static let cacheOptions: [OptionDescription] = [
        .blockCacheSize, .blockCacheThreads, .blockCacheWriteDelay, .blockCacheTimeout, .blockCacheMaxDirty, .blockCacheSync,
        .blockCacheNumProtected, .blockCacheFile, .blockCacheNoVerify, .blockCacheFileAdvise, .blockCachePlain,
        .blockCacheRecoverDirtyBlocks, .recoverDirty, .flush, .flushTimeout, .readAhead, .readAheadTrigger,
    ]
}
