// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ArgumentParser

/// The options that were given, each in its type; nil or false where it was not given.
///
/// Reads only words of the form `--NAME` and `--NAME=VALUE` whose names and values ``CommandLineReader`` has checked.
struct ParsedOptions: ParsableArguments {
    @Option(.accessFile) var accessFile: String?
    @Option(.accessId) var accessId: String?
    @Option(.accessKey) var accessKey: Secret?
    @Option(.accessKeyEnv) var accessKeyEnv: String?

    @Option(.baseURL) var baseURL: String?
    @Option(.region) var region: String?
    @Flag(.ssl) var ssl: Bool
    @Flag(.vhost) var vhost: Bool
    @Flag(.noVhost) var noVhost: Bool
    @Option(.cacert) var cacert: String?
    @Flag(.insecure) var insecure: Bool
    @Option(.timeout) var timeout: WholeNumber?
    @Option(.initialRetryPause) var initialRetryPause: WholeNumber?
    @Option(.maxRetryPause) var maxRetryPause: WholeNumber?
    @Option(.maxUploadSpeed) var maxUploadSpeed: ByteSize?
    @Option(.maxDownloadSpeed) var maxDownloadSpeed: ByteSize?
    @Flag(.http11) var http11: Bool
    @Flag(.noCurlCache) var noCurlCache: Bool
    @Option(.ipTOS) var ipTOS: String?

    @Option(.prefix) var prefix: String?
    @Flag(.blockHashPrefix) var blockHashPrefix: Bool
    @Option(.storageClass) var storageClass: String?
    @Option(.accessType) var accessType: String?
    @Option(.authVersion) var authVersion: String?
    @Option(.sse) var sse: String?
    @Option(.sseKeyID) var sseKeyID: String?

    /// Empty when no algorithm was named.
    @Option(.compress) var compress: String?
    @Option(.compressLevel) var compressLevel: String?
    @Option(.defaultContentEncoding) var defaultContentEncoding: String?
    /// Empty when no cipher was named.
    @Option(.encrypt) var encrypt: String?
    @Option(.password) var password: Secret?
    @Option(.passwordFile) var passwordFile: String?
    @Option(.newPasswordFile) var newPasswordFile: String?
    @Option(.keyLength) var keyLength: WholeNumber?

    @Option(.md5CacheSize) var md5CacheSize: WholeNumber?
    @Option(.md5CacheTime) var md5CacheTime: WholeNumber?
    @Option(.minWriteDelay) var minWriteDelay: WholeNumber?

    @Flag(.listBlocks) var listBlocks: Bool
    @Option(.listBlocksThreads) var listBlocksThreads: WholeNumber?

    @Option(.size) var size: ByteSize?
    @Option(.blockSize) var blockSize: ByteSize?
    @Flag(.noAutoDetect) var noAutoDetect: Bool

    @Option(.filename) var filename: String?
    @Option(.fileMode) var fileMode: FileMode?
    @Option(.statsFilename) var statsFilename: String?
    @Option(.statsFileMirror) var statsFileMirror: String?
    @Option(.statsFileMirrorInterval) var statsFileMirrorInterval: WholeNumber?
    @Flag(.directIO) var directIO: Bool
    @Flag(.readOnly) var readOnly: Bool

    @Option(.blockCacheSize) var blockCacheSize: WholeNumber?
    @Option(.blockCacheThreads) var blockCacheThreads: WholeNumber?
    @Option(.blockCacheWriteDelay) var blockCacheWriteDelay: WholeNumber?
    @Option(.blockCacheTimeout) var blockCacheTimeout: WholeNumber?
    @Option(.blockCacheMaxDirty) var blockCacheMaxDirty: WholeNumber?
    @Flag(.blockCacheSync) var blockCacheSync: Bool
    @Option(.blockCacheNumProtected) var blockCacheNumProtected: WholeNumber?
    @Option(.blockCacheFile) var blockCacheFile: String?
    @Flag(.blockCacheNoVerify) var blockCacheNoVerify: Bool
    @Flag(.blockCacheFileAdvise) var blockCacheFileAdvise: Bool
    @Flag(.blockCachePlain) var blockCachePlain: Bool
    @Flag(.blockCacheRecoverDirtyBlocks) var blockCacheRecoverDirtyBlocks: Bool
    @Option(.recoverDirty) var recoverDirty: String?
    @Option(.flush) var flush: String?
    @Option(.flushTimeout) var flushTimeout: WholeNumber?
    @Option(.readAhead) var readAhead: WholeNumber?
    @Option(.readAheadTrigger) var readAheadTrigger: WholeNumber?

    @Flag(.test) var test: Bool
    @Flag(.force) var force: Bool
    @Flag(.resetMountedFlag) var resetMountedFlag: Bool
    @Flag(.changePassword) var changePassword: Bool
    @Flag(.quiet) var quiet: Bool
    @Flag(.debug) var debug: Bool
    @Flag(.debugHTTP) var debugHTTP: Bool

    /// Reads the checked words.
    ///
    /// - Throws: Only where this type and the option table contradict each other.
    static func read(_ words: [String]) throws(UserError) -> ParsedOptions {
        do {
            // Name and value as two words: ArgumentParser takes "--NAME=" for a value that is missing.
            return try ParsedOptions.parse(
                words.flatMap { word in
                    let (name, value) = splitAtEquals(word)
                    return [name] + (value.map { [$0] } ?? valueLeftOut(of: name))
                })
        } catch {
            throw UserError(ParsedOptions.message(for: error))
        }
    }

    /// An empty word where ArgumentParser wants a value and the user need not give one.
    private static func valueLeftOut(of dashed: String) -> [String] {
        guard case .optionalText = OptionTable.option(named: String(dashed.dropFirst(2)))?.form else { return [] }
        return [""]
    }
}
