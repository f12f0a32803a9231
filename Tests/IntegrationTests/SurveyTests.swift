// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

extension Integration {
    /// The survey of the blocks that exist.
    @Suite struct SurveyTests {
        @Test(
            "on a volume that was surveyed, blocks that do not exist cost no request, and the statistics say so",
            .needs(.root, .fuse, .gateway, .curl), arguments: [[], ["--blockHashPrefix"]])
        func absentBlocks(names: [String]) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                // More blocks than a page has names, and a volume beside it whose names begin alike.
                let options = try bucket.flags() + names + ["--size=2m", "--blockSize=512", "--blockCacheSize=0", "--directIO"]
                let pattern = try Pattern(in: workspace, count: 1_048_576)
                for prefix in ["vm1", "vm10"] {
                    let writer = try Mount(options + ["--prefix=\(prefix)", bucket.name], in: workspace, name: "write\(prefix)")
                    try writer.start()
                    try pattern.write(to: writer.file, at: prefix == "vm1" ? 1_048_576 : 0)
                    try writer.unmount()
                }
                let mount = try Mount(options + ["--prefix=vm1", "--listBlocks", bucket.name], in: workspace)
                try mount.startInForeground()
                let line = "non-zero block survey completed (2049 non-zero blocks reported)"
                #expect(eventually(within: 60) { mount.log.contains(line) }, "\(mount.log)")
                let before = try mount.statistics()
                // All of the first half but block 0, which has an object.
                #expect(before["zero_block_cache_size"] == "2047")
                #expect(before["http_empty_blocks_read"] == "0" && before["http_empty_blocks_written"] == "0")
                let zeros = try Command.run(
                    "cmp", ["-n", "1048064", "--ignore-initial=512:0", mount.file, "/dev/zero"], seconds: 60)
                #expect(zeros.status == 0)
                try pattern.compare(with: mount.file, at: 1_048_576)
                let after = try mount.statistics()
                #expect(after["http_zero_blocks_read"] == "0" && after["http_normal_blocks_read"] == "2048", "\(after)")
                try mount.unmount()
                #expect(mount.log.contains("starting non-zero block survey"))
            }
        }
    }
}
