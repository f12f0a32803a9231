// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let blockCacheSize = OptionDescription(
        name: "blockCacheSize", .number("BLOCKS"), .cache, "Blocks that the cache holds; 0: none",
        default: "256 MiB of them, 64 to 65536")
    static let blockCacheThreads = OptionDescription(
        name: "blockCacheThreads", .number("NUM"), .cache, "Blocks that are written back at once", default: "80")
    static let blockCacheWriteDelay = OptionDescription(
        name: "blockCacheWriteDelay", .number("MILLIS"), .cache, "How long a written block waits for more",
        default: "250; 5000 if flush=local")
    static let blockCacheTimeout = OptionDescription(
        name: "blockCacheTimeout", .number("MILLIS"), .cache, "How long an unused block is kept; 0 is for ever", default: "0")
    static let blockCacheMaxDirty = OptionDescription(
        name: "blockCacheMaxDirty", .number("BLOCKS"), .cache, "Unsaved blocks before writes wait; 0: all that it holds",
        default: "0")
    static let blockCacheSync = OptionDescription(
        name: "blockCacheSync", .flag, .cache, "Each write waits until its block is in the store")
    static let blockCacheNumProtected = OptionDescription(
        name: "blockCacheNumProtected", .number("BLOCKS"), .cache, "Blocks at the start of the disk, evicted last", default: "0")
    static let blockCacheFile = OptionDescription(
        name: "blockCacheFile", .text("FILE"), .cache, "Keep the cache in a file that outlives the process")
    static let blockCacheNoVerify = OptionDescription(
        name: "blockCacheNoVerify", .flag, .cache, "Use blocks of an earlier mount without asking the store")
    static let blockCacheFileAdvise = OptionDescription(
        name: "blockCacheFileAdvise", .flag, .cache, "Keep the cache file out of the kernel's page cache")
    static let blockCachePlain = OptionDescription(
        name: "blockCachePlain", .flag, .cache, "Do not encrypt the cache file, in spite of --encrypt")
    static let blockCacheRecoverDirtyBlocks = OptionDescription(
        name: "blockCacheRecoverDirtyBlocks", .flag, .cache, "No effect: unsaved data is always recovered")
    static let recoverDirty = OptionDescription(
        name: "recoverDirty", .text("WHAT"), .cache, "If others may have written since: apply or discard unsaved data")
    static let flush = OptionDescription(
        name: "flush", .text("WHERE"), .cache, "Where fsync wants the data: remote or local", default: "remote")
    static let flushTimeout = OptionDescription(
        name: "flushTimeout", .number("SECONDS"), .cache, "How long fsync waits for the store; 0: without end", default: "0")
    static let readAhead = OptionDescription(
        name: "readAhead", .number("BLOCKS"), .cache, "Blocks read ahead at most; 0 is off", default: "16 MiB of them, 4 to 128")
    static let readAheadTrigger = OptionDescription(
        name: "readAheadTrigger", .number("BLOCKS"), .cache, "Blocks in order before reading ahead", default: "2")

    /// What is kept near, and when it goes to the store.
    static let cacheOptions: [OptionDescription] = [
        .blockCacheSize, .blockCacheThreads, .blockCacheWriteDelay, .blockCacheTimeout, .blockCacheMaxDirty, .blockCacheSync,
        .blockCacheNumProtected, .blockCacheFile, .blockCacheNoVerify, .blockCacheFileAdvise, .blockCachePlain,
        .blockCacheRecoverDirtyBlocks, .recoverDirty, .flush, .flushTimeout, .readAhead, .readAheadTrigger,
    ]
}
