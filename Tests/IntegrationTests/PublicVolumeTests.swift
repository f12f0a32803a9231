// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Volumes in buckets that everybody may read.
    @Suite struct PublicVolumeTests {
        @Test(
            "a volume in a bucket that everybody may read and list is read anonymously, zeros included",
            .needs(.root, .fuse, .gateway, .curl))
        func anonymousReader() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let pattern = try Pattern(in: workspace, count: 700_000)
                let writer = try Mount(
                    try bucket.flags() + ["--size=8m", "--blockSize=64k", bucket.name], in: workspace, name: "writer")
                try writer.start()
                try pattern.write(to: writer.file, at: 100_000)
                try Command.run("cp", ["--sparse=never", writer.file, workspace.file("copy")])
                try writer.unmount()
                try bucket.makePublic()
                let keys = try bucket.keys()

                let flags = ["--baseURL=\(bucket.gateway.endpoint)/", "--accessId=", "--readOnly", bucket.name]
                let reader = try Mount(flags, in: workspace)
                try reader.start()
                try Command.run("cmp", [workspace.file("copy"), reader.file])
                let mode = try Command.run("stat", ["-c", "%a", reader.file]).output
                #expect(mode == "400\n")
                let write = try pattern.attemptWrite(to: reader.file)
                #expect(write.status == 1)
                #expect(write.errorOutput.contains("Read-only file system"), "\(write)")
                try reader.unmount()
                #expect(try bucket.keys() == keys)
            }
        }
    }
}
