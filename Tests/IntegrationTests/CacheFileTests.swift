// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// A cache file and the mount token, through crashes.
    @Suite struct CacheFileTests {
        private static let token = "s3backer-mounted"
        private static let count = 1 << 20
        private static let offset = 65_536 * 3

        /// A volume whose writes stay in the cache file for longer than a test takes.
        private struct Volume {
            let workspace: Workspace
            let bucket: Bucket
            let file: String
            let flags: [String]

            init(in workspace: Workspace, _ options: [String] = []) throws {
                self.workspace = workspace
                bucket = try Bucket(in: workspace)
                file = workspace.file("cache")
                flags = try bucket.flags() + ["--size=8m", "--blockSize=64k"] + options + [bucket.name]
            }

            var cached: [String] { ["--blockCacheFile=\(file)", "--flush=local", "--blockCacheWriteDelay=600000"] }

            func mount(_ options: [String], _ name: String) throws -> Mount {
                try Mount(options + flags, in: workspace, name: name)
            }

            /// Writes a pattern, flushed to the cache file, and crashes.
            func crash(_ pattern: Pattern, _ name: String = "first") throws {
                let mount = try mount(cached, name)
                try mount.start()
                try pattern.write(to: mount.file, at: CacheFileTests.offset)
                #expect(try mount.counter("block_cache_dirty") == 16)
                try mount.crash()
                #expect(try bucket.blockKeys().count <= 1)
                #expect(try bucket.head(CacheFileTests.token) != nil)
            }
        }

        @Test(
            "after kill -9 a mount with the cache file goes on by itself, and what was flushed locally gets to the store",
            .needs(.root, .fuse, .gateway, .curl), arguments: [[], ["--encrypt=AES-256-GCM", "--password=geheim"]])
        func recovery(options: [String]) throws {
            try withWorkspace { workspace in
                let volume = try Volume(in: workspace, options)
                let pattern = try Pattern(in: workspace, count: Self.count)
                try volume.crash(pattern)
                try volume.mount([], "without").attempt().expectFailure(mentioning: "already mounted")
                let second = try volume.mount(volume.cached, "second")
                try second.start()
                try pattern.compare(with: second.file, at: Self.offset)
                try second.unmount()
                #expect(try volume.bucket.head(Self.token) == nil)
                let third = try volume.mount([], "third")
                try third.start()
                try pattern.compare(with: third.file, at: Self.offset)
                try third.unmount()
            }
        }

        @Test(
            "unsaved data of a volume without its token refuses the mount; apply writes it, discard keeps it aside",
            .needs(.root, .fuse, .gateway, .curl), arguments: ["apply", "discard"])
        func mismatch(decision: String) throws {
            try withWorkspace { workspace in
                let volume = try Volume(in: workspace)
                let pattern = try Pattern(in: workspace, count: Self.count)
                try volume.crash(pattern)
                try Command.run(Mount.binary, ["--reset-mounted-flag"] + volume.flags)
                for force in [[], ["--force"]] {
                    try volume.mount(volume.cached + force, "refused\(force.count)").attempt().expectFailure(
                        mentioning: "16 blocks", "--recoverDirty=apply", "--recoverDirty=discard", volume.file)
                }
                #expect(try volume.bucket.head(Self.token) == nil)
                let decided = try volume.mount(volume.cached + ["--recoverDirty=\(decision)"], "decided")
                try decided.start()
                try decided.unmount()
                let names = try FileManager.default.contentsOfDirectory(atPath: workspace.path).filter { $0.hasPrefix("cache") }
                let plain = try volume.mount([], "plain")
                try plain.start()
                if decision == "apply" {
                    try pattern.compare(with: plain.file, at: Self.offset)
                    #expect(names == ["cache"])
                } else {
                    #expect(names.sorted() == ["cache", "cache.old-1"])
                    #expect(throws: FixtureError.self) { try pattern.compare(with: plain.file, at: Self.offset) }
                }
                try plain.unmount()
            }
        }

        @Test(
            "a read-only mount and --reset-mounted-flag are refused while the cache file has unsaved data",
            .needs(.root, .fuse, .gateway, .curl))
        func refusals() throws {
            try withWorkspace { workspace in
                let volume = try Volume(in: workspace)
                try volume.crash(try Pattern(in: workspace, count: Self.count))
                let file = "--blockCacheFile=\(volume.file)"
                try volume.mount(["--readOnly", file], "reader").attempt().expectFailure(mentioning: "16 blocks", "read-only")
                let reset = try Command.attempt(Mount.binary, ["--reset-mounted-flag", file] + volume.flags, seconds: 60)
                reset.expectFailure(mentioning: "16 blocks", volume.file)
                #expect(try volume.bucket.head(Self.token) != nil)
                // What was refused has changed nothing.
                let next = try volume.mount(volume.cached, "next")
                try next.start()
                let inUse = try Command.attempt(Mount.binary, ["--reset-mounted-flag", file] + volume.flags, seconds: 60)
                inUse.expectFailure(mentioning: volume.file)
                try next.unmount()
            }
        }

        @Test(
            "a store that is gone at the end leaves the data in the cache file, and the log says so",
            .needs(.root, .fuse, .gateway, .curl))
        func storeGoneAtTheEnd() throws {
            try withWorkspace { workspace in
                let volume = try Volume(in: workspace)
                let proxy = try TCPProxy(to: volume.bucket.gateway.port)
                let flags = try volume.bucket.flags(port: proxy.port) + ["--initialRetryPause=50", "--maxRetryPause=100"]
                let identity = ["--size=8m", "--blockSize=64k", volume.bucket.name]
                let first = try Mount(volume.cached + flags + identity, in: workspace, name: "first")
                try first.startInForeground()
                let pattern = try Pattern(in: workspace, count: Self.count)
                try pattern.write(to: first.file, at: Self.offset)
                proxy.close()
                // The first ends the mount, the second the wait.
                first.signal(SIGTERM)
                #expect(eventually(within: 30) { first.log.contains("writing the last blocks") })
                first.signal(SIGTERM)
                #expect(try first.waitForEnd() == 1)
                #expect(first.log.contains("they stay in the cache file"), "\(first.log)")
            }
        }
    }
}
