// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import ObjectStores
import Testing

@testable import Daemon

@Suite("The block cache, on the command line")
struct BlockCacheSettingsTests {
    private func cache(_ arguments: String...) throws -> BlockCacheSettings {
        try #require(try Settings(try CommandLineReader.read(["b", "/m"] + arguments), in: surroundings()).cache)
    }

    private func geometry(_ blockSize: Int, blocks: Int) throws -> BlockGeometry {
        try #require(BlockGeometry(blockSize: blockSize, blockCount: blocks))
    }

    @Test(
        "without a word the cache holds 256 MiB and reads 16 MiB ahead, within limits",
        arguments: [
            (512, 65_536, 128), (4096, 65_536, 128), (65_536, 4096, 128), (131_072, 2048, 128), (262_144, 1024, 64),
            (1 << 20, 256, 16), (4 << 20, 64, 4), (16 << 20, 64, 4),
        ])
    func sizes(blockSize: Int, slots: Int, readAhead: Int) throws {
        let settings = try cache().settings(for: try geometry(blockSize, blocks: 1 << 20))
        #expect(settings.slotCount == slots && settings.readAheadMax == readAhead)
    }

    @Test("the other defaults")
    func defaults() throws {
        let cache = try cache()
        #expect(cache.file == nil && cache.slotCount == nil && cache.readAheadMax == nil)
        let behaviour = cache.behaviour
        #expect(behaviour.uploadsMax == 80 && behaviour.writeDelay == .milliseconds(250) && behaviour.keptFor == nil)
        #expect(behaviour.dirtyMax == nil && !behaviour.isSynchronous && behaviour.protectedCount == 0)
        #expect(behaviour.readAheadTrigger == 2 && behaviour.flushMode == .remote && behaviour.flushTimeout == nil)
        #expect(behaviour.verifiesRestored)
        #expect(try given("--readOnly").cache == cache)
        #expect(try settings("--test", "d", "/m").cache == cache)
    }

    private func given(_ argument: String) throws -> Settings { try settings("b", "/m", argument) }

    @Test("every option reaches its setting")
    func values() throws {
        let cache = try cache(
            "--blockCacheSize=500", "--blockCacheThreads=7", "--blockCacheWriteDelay=100", "--blockCacheTimeout=3000",
            "--blockCacheMaxDirty=50", "--blockCacheNumProtected=10", "--readAhead=6", "--readAheadTrigger=3",
            "--flush=local", "--flushTimeout=90", "--blockCacheFile=/c/f", "--blockCacheNoVerify", "--blockCacheFileAdvise",
            "--blockCachePlain", "--blockCacheRecoverDirtyBlocks", "--recoverDirty=discard", "--encrypt")
        let settings = cache.settings(for: try geometry(65_536, blocks: 1000))
        #expect(settings.slotCount == 500 && settings.uploadsMax == 7 && settings.writeDelay == .milliseconds(100))
        #expect(settings.keptFor == .seconds(3) && settings.dirtyMax == 50 && settings.protectedCount == 10)
        #expect(settings.readAheadMax == 6 && settings.readAheadTrigger == 3 && settings.flushMode == .local)
        #expect(settings.flushTimeout == .seconds(90) && !settings.verifiesRestored)
        #expect(cache.file == CacheFileSettings(path: "/c/f", recovery: .discard, isAdvised: true, isPlain: true))
        #expect(try self.cache("--blockCacheFile=/c").behaviour.writeDelay == .milliseconds(250))
        #expect(try self.cache("--blockCacheFile=/c", "--flush=local").behaviour.writeDelay == .seconds(5))
        #expect(try self.cache("--blockCacheFile=/c", "--recoverDirty=apply").file?.recovery == .apply)
        #expect(try self.cache("--readAhead=0").settings(for: try geometry(4096, blocks: 9)).readAheadMax == 0)
    }

    @Test("zero is off, or without a limit, or at once")
    func zeros() throws {
        #expect(try given("--blockCacheSize=0").cache == nil)
        let cache = try cache(
            "--blockCacheWriteDelay=0", "--blockCacheTimeout=0", "--blockCacheMaxDirty=0", "--flushTimeout=0",
            "--readAheadTrigger=0")
        #expect(cache.behaviour.writeDelay == .zero && cache.behaviour.keptFor == nil && cache.behaviour.dirtyMax == nil)
        #expect(cache.behaviour.flushTimeout == nil && cache.behaviour.readAheadTrigger == 1)
    }

    @Test("--blockCacheSync means no delay, as the C program makes its users say")
    func synchronous() throws {
        for arguments in [["--blockCacheSync"], ["--blockCacheSync", "--blockCacheWriteDelay=0"]] {
            let settings = try Settings(try CommandLineReader.read(["b", "/m"] + arguments), in: surroundings())
            let behaviour = try #require(settings.cache?.behaviour)
            #expect(behaviour.isSynchronous && behaviour.writeDelay == .zero)
        }
    }

    @Test("never more slots than the volume has blocks; what was given and is too much is told, what was not given is not")
    func reduction() throws {
        let small = try geometry(4096, blocks: 256)
        #expect(try cache().settings(for: small).slotCount == 256)
        #expect(try cache().warnings(for: small).isEmpty)
        let large = try cache("--blockCacheSize=1000", "--blockCacheNumProtected=300", "--blockCacheMaxDirty=900")
        #expect(large.settings(for: small).slotCount == 256 && large.settings(for: small).dirtyMax == nil)
        #expect(
            large.warnings(for: small) == [
                "\"--blockCacheSize=1000\" is more than the 256 blocks of the volume; reduced to that",
                "\"--blockCacheNumProtected=300\" is more than the 256 blocks that the cache holds",
                "\"--blockCacheMaxDirty=900\" is more than the 256 blocks that the cache holds; reduced to that",
            ])
        #expect(try cache("--blockCacheSize=256").warnings(for: small).isEmpty)
        #expect(try cache("--blockCacheSize=8").settings(for: small).readAheadMax == 2)
    }

    @Test(
        "what contradicts itself is refused in one line",
        arguments: [
            (["--blockCacheThreads=0"], "cannot use \"--blockCacheThreads=0\": nothing would be written back; give at least 1"),
            (
                ["--blockCacheSync", "--blockCacheWriteDelay=5"],
                "cannot use \"--blockCacheSync\" with \"--blockCacheWriteDelay=5\": writes that wait for the store must not be "
                    + "delayed; leave the delay out or give 0"
            ),
            (["--flush=local"], "cannot use \"--flush=local\": there is no local file to flush to; add \"--blockCacheFile\""),
            (["--flush=never"], "invalid value \"never\" for \"--flush\": use one of remote, local"),
            (
                ["--recoverDirty=apply"],
                "cannot use \"--recoverDirty=apply\": there is no file to recover from; add \"--blockCacheFile\""
            ),
            (
                ["--blockCacheFile=f", "--recoverDirty=maybe"],
                "invalid value \"maybe\" for \"--recoverDirty\": use one of apply, discard"
            ),
            (
                ["--blockCacheRecoverDirtyBlocks"],
                "cannot use \"--blockCacheRecoverDirtyBlocks\": there is no file to recover from; add \"--blockCacheFile\""
            ),
            (
                ["--blockCacheSize=0", "--blockCacheFile=f"],
                "cannot use \"--blockCacheFile=f\" with \"--blockCacheSize=0\": there is no cache to keep in it; give another size, "
                    + "or leave the file out"
            ),
            (["--blockCacheFile="], "invalid file \"\" for \"--blockCacheFile\": give the path of a file"),
            (["--blockCacheFile=/c/"], "invalid file \"/c/\" for \"--blockCacheFile\": give the path of a file"),
            (
                ["--readOnly", "--blockCacheFile=f", "--recoverDirty=apply"],
                "cannot use \"--recoverDirty=apply\" with \"--readOnly\": nothing is written; mount once without \"--readOnly\""
            ),
        ])
    func refusals(arguments: [String], expected: String) {
        #expect(failure(["b", "/m"] + arguments) == expected)
    }

    @Test(
        "what has no effect is told",
        arguments: [
            (["--blockCacheNoVerify"], "\"--blockCacheNoVerify\" has no effect without \"--blockCacheFile\""),
            (["--blockCacheFileAdvise"], "\"--blockCacheFileAdvise\" has no effect without \"--blockCacheFile\""),
            (["--blockCachePlain"], "\"--blockCachePlain\" has no effect without \"--blockCacheFile\""),
            (["--blockCacheFile=f", "--blockCachePlain"], "\"--blockCachePlain\" has no effect without \"--encrypt\""),
            (["--blockCacheSize=0", "--blockCacheSync"], "\"--blockCacheSync\" has no effect with \"--blockCacheSize=0\""),
            (["--blockCacheSize=0", "--readAhead=4"], "\"--readAhead\" has no effect with \"--blockCacheSize=0\""),
            (["--blockCacheSize=0", "--flushTimeout=4"], "\"--flushTimeout\" has no effect with \"--blockCacheSize=0\""),
        ])
    func effectless(arguments: [String], expected: String) throws {
        let settings = try Settings(try CommandLineReader.read(["b", "/m"] + arguments), in: surroundings())
        #expect(settings.warnings == ["warning: " + expected])
    }

    @Test("the cache file's path is made absolute, and its directory must be there")
    func path() throws {
        let settings = try settings("--test", "/", "/m", "--blockCacheFile=/tmp/../cache").withAbsolutePaths()
        #expect(settings.cache?.file?.path == "/cache")
        #expect {
            try self.given("--blockCacheFile=/nowhere/c").withAbsolutePaths()
        } throws: { error in
            "\(error)"
                == "cannot keep the cache in \"/nowhere/c\": /nowhere: No such file or directory; make the directory first"
        }
    }

    @Test("a cache file belongs to host, bucket and prefix, however they are reached")
    func identity() throws {
        let identity = { (arguments: [String]) in
            try Settings(try CommandLineReader.read(arguments + ["/m"]), in: surroundings()).volumeIdentity
        }
        let plain = try identity(["b/p", "--baseURL=http://h:80/"])
        #expect(plain == "s3 h:80/b/p/")
        #expect(try identity(["b/p", "--baseURL=https://h:80/"]) == plain)
        #expect(try identity(["b/p", "--baseURL=http://h:80/", "--vhost"]) == plain)
        #expect(try identity(["b", "--prefix=p/", "--baseURL=http://h:80/"]) == plain)
        #expect(try identity(["b", "--prefix=p", "--baseURL=http://h:80/"]) == "s3 h:80/b/p")
        #expect(try identity(["--test", "/srv/d"]) == "directory /srv/d/")
    }

    @Test("there are lanes for all uploads, and others beside them")
    func lanes() throws {
        #expect(Store.limits(nil) == .init(requestsMax: 128, foregroundReserve: 32))
        #expect(Store.limits(try cache()) == .init(requestsMax: 128, foregroundReserve: 32))
        #expect(Store.limits(try cache("--blockCacheThreads=200")) == .init(requestsMax: 248, foregroundReserve: 32))
    }
}
