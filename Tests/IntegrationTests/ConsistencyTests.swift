// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

extension Integration {
    /// The guard for eventually consistent stores, on a store that is consistent: it must cost what it says, and no more.
    @Suite struct ConsistencyTests {
        @Test(
            "a mount that remembers written blocks keeps two writes of one apart, and its statistics say how long they waited",
            .needs(.root, .fuse, .gateway, .curl))
        func minWriteDelay() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let options = ["--md5CacheSize=8", "--md5CacheTime=60000", "--minWriteDelay=1500", "--directIO"]
                let mount = try Mount(
                    try bucket.flags() + options + ["--size=1m", "--blockSize=64k", bucket.name], in: workspace)
                try mount.start()
                let pattern = try Pattern(in: workspace, count: 65_536)
                let again = try Pattern(in: workspace, name: "again", count: 65_536, seed: 8)
                try pattern.write(to: mount.file, at: 131_072)
                #expect(try mount.statistics()["md5_cache_write_delays"] == "0.000")
                try again.write(to: mount.file, at: 131_072)
                try again.compare(with: mount.file, at: 131_072)
                let statistics = try mount.statistics()
                let waited = try #require(Double(statistics["md5_cache_write_delays"] ?? ""))
                #expect(waited > 0.5 && waited <= 1.5, "\(statistics)")
                // The first block with the sizes, and this one.
                #expect(statistics["md5_cache_current_size"] == "2")
                #expect(statistics["md5_cache_full_delays"] == "0.000")
                try mount.unmount()

                let reader = try Mount(try bucket.flags() + ["--readOnly", bucket.name], in: workspace, name: "reader")
                try reader.start()
                try again.compare(with: reader.file, at: 131_072)
                #expect(try reader.statistics()["md5_cache_current_size"] == nil)
                try reader.unmount()
            }
        }

        @Test(
            "a guard that would come to a standstill is refused at the start, and leaves nothing behind",
            .needs(.root, .fuse, .gateway, .curl))
        func standstill() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let mount = try Mount(
                    try bucket.flags() + ["--md5CacheSize=15", "--size=1m", "--blockSize=64k", bucket.name], in: workspace)
                try mount.attempt().expectFailure(mentioning: ["--md5CacheSize=15", "--md5CacheTime", "16 blocks"])
                #expect(try bucket.keys().isEmpty)
                #expect(!mount.isMounted && mount.processes.isEmpty)
            }
        }
    }
}
