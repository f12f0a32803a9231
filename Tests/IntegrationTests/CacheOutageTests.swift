// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// A file system over a store that fails now and then, and then altogether: the cache must hide it.
    @Suite struct CacheOutageTests {
        /// Where dirty data waits.
        static let caches = ["in memory", "in a file"]

        @Test(
            "with its working set in the cache, a file system sees nothing of failing requests and of a store that is gone",
            .needs(.root, .fuse, .loop, .gateway, .curl, .fio), arguments: caches)
        func outageUnderFileSystem(cache: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let file = cache == "in a file" ? ["--blockCacheFile=\(workspace.file("cache"))"] : []
                // Room for the whole volume. A request without an answer costs the time-out.
                let flags = ["--size=128m", "--blockSize=64k", "--blockCacheSize=2048", "--timeout=5"] + file
                let mount = try Mount(try bucket.flags(port: proxy.port) + flags + [bucket.name], in: workspace)
                try mount.startInForeground()
                let device = try LoopDevice(over: mount.file, isDirect: true)
                let inside = try workspace.directory("inside")
                try FileSystem.ext4.make(on: device.path)
                try FileSystem.ext4.mount(device.path, at: inside)
                // What was never read has to be asked for, and would fail in the outage.
                try Command.run("dd", ["if=\(mount.file)", "of=/dev/null", "bs=1M", "iflag=direct"])

                let load = try VerifiedLoad(in: inside, workspace: workspace)
                proxy.set { conditions in
                    conditions.faultRate = 0.05
                    conditions.faults = SplitMix(seed: Effort.seed)
                }
                try load.expectRunning(for: 30)
                #expect(proxy.faultCount > 0, "no request has failed")
                proxy.goDown()
                try load.expectRunning(for: Effort.outageSeconds)
                try proxy.comeBack()
                try load.expectRunning(for: 10)
                try load.end(seconds: 120)

                try expectUnharmed(inside, on: device)
                let sums = try Self.checksums(of: inside)
                try FileSystem.ext4.unmount(inside)
                try device.detach()
                // Nobody asks for it: the drain must end by itself, over a store that still fails now and then.
                let isDrained = try eventually(within: 120) {
                    try mount.statistics()["block_cache_dirty_ratio"] == "0.00000000"
                }
                #expect(isDrained, "\(mount.log.suffix(4_000))")
                try mount.unmount(seconds: 180)
                try expectContents(sums, of: bucket, in: workspace)
            }
        }

        /// It was not set read-only, has met no error, and can be written.
        private func expectUnharmed(_ inside: String, on device: LoopDevice) throws {
            let options = try Command.run("findmnt", ["-no", "OPTIONS", inside]).output
            #expect(options.split(whereSeparator: { ",\n".contains($0) }).contains("rw"), "\(options)")
            let name = URL(fileURLWithPath: device.path).lastPathComponent
            let errors = try String(contentsOfFile: "/sys/fs/ext4/\(name)/errors_count", encoding: .utf8)
            #expect(errors == "0\n", "ext4 has met \(errors) errors")
            try Command.shell("echo written > \"$1/after\"; sync -f \"$1\"", [inside], seconds: 120)
        }

        /// A new mount without any cache finds the same in the bucket.
        private func expectContents(_ sums: String, of bucket: Bucket, in workspace: Workspace) throws {
            let mount = try Mount(
                try bucket.flags() + ["--blockCacheSize=0", bucket.name], in: workspace, name: "again")
            try mount.start()
            let device = try LoopDevice(over: mount.file)
            let inside = try workspace.directory("inside-again")
            try FileSystem.ext4.check(device.path)
            try FileSystem.ext4.mount(device.path, at: inside)
            #expect(try Self.checksums(of: inside) == sums)
            try FileSystem.ext4.unmount(inside)
            try device.detach()
            try mount.unmount()
        }

        private static func checksums(of directory: String) throws -> String {
            try Command.shell("cd \"$1\"; find . -type f -print0 | sort -z | xargs -0 sha256sum", [directory], seconds: 120)
                .output
        }
    }
}
