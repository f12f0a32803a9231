// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Starts in the background which must fail: status 1 of the parent, one clear line on its standard error.
    @Suite struct StartFailureTests {
        @Test("a wrong secret is refused, named, and changes nothing", .needs(.root, .fuse, .gateway, .curl))
        func wrongSecret() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                try bucket.put(Data("mine".utf8), to: "something")
                let access = try workspace.write("\(bucket.gateway.accessID):not-the-secret\n", to: "wrong-access")
                let flags = ["--baseURL=\(bucket.gateway.endpoint)/", "--accessFile=\(access)"]
                for more in [["--size=8m"], ["--readOnly"], ["--force", "--size=8m"]] {
                    let mount = try Mount(flags + more + [bucket.name], in: workspace)
                    let result = try mount.attempt()
                    result.expectFailure(mentioning: "SignatureDoesNotMatch", bucket.name)
                    #expect(!result.errorOutput.contains("not-the-secret"))
                    #expect(result.seconds < 10, "it must not be repeated: \(result)")
                    #expect(!mount.isMounted && mount.processes.isEmpty)
                }
                #expect(try bucket.keys() == ["something"])
            }
        }

        @Test("an unknown access id is refused and named", .needs(.root, .fuse, .gateway, .curl))
        func unknownAccessID() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = ["--baseURL=\(bucket.gateway.endpoint)/", "--accessId=nobody", "--accessKey=wrong", "--size=8m"]
                let result = try Mount(flags + [bucket.name], in: workspace).attempt()
                result.expectFailure(mentioning: "InvalidAccessKeyId")
                #expect(try bucket.keys().isEmpty)
            }
        }

        @Test(
            "a bucket that does not exist is named, and never reads as zeros", .needs(.root, .fuse, .gateway, .curl),
            arguments: [["--size=8m"], ["--size=8m", "--readOnly"], ["--size=8m", "--readOnly", "--accessId="], ["--readOnly"]])
        func noSuchBucket(flags: [String]) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let anonymous = ["--baseURL=\(bucket.gateway.endpoint)/"]
                let signed = try bucket.flags()
                let mount = try Mount(
                    (flags.contains("--accessId=") ? anonymous : signed) + flags + ["no-such-bucket-here"], in: workspace)
                try mount.attempt().expectFailure(mentioning: "no-such-bucket-here", "NoSuchBucket")
                #expect(!mount.isMounted && mount.processes.isEmpty)
            }
        }

        @Test("a private bucket is refused to anonymous readers", .needs(.root, .fuse, .gateway, .curl))
        func privateBucketAnonymously() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = ["--baseURL=\(bucket.gateway.endpoint)/", "--accessId=", "--readOnly", "--size=8m", bucket.name]
                let result = try Mount(flags, in: workspace).attempt()
                result.expectFailure(mentioning: "AccessDenied", bucket.name)
                #expect(result.seconds < 10)
            }
        }

        @Test("other sizes than those of the volume are refused, unless forced", .needs(.root, .fuse, .gateway, .curl))
        func otherSizes() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags()
                let mount = try Mount(flags + ["--size=8m", "--blockSize=64k", bucket.name], in: workspace)
                try mount.start()
                try Pattern(in: workspace, count: 65_536).write(to: mount.file)
                try mount.unmount()
                let smaller = try Mount(flags + ["--size=4m", bucket.name], in: workspace)
                try smaller.attempt().expectFailure(mentioning: "4m", "8m")
                let blocks = try Mount(flags + ["--blockSize=4k", bucket.name], in: workspace)
                try blocks.attempt().expectFailure(mentioning: "4k", "64k")
                #expect(try bucket.keys() == ["00000000"])
                let forced = try Mount(flags + ["--force", "--size=16m", bucket.name], in: workspace)
                try forced.start()
                #expect(try forced.size() == 16 << 20)
                try forced.unmount()
            }
        }

        @Test("a new volume without a size is refused", .needs(.root, .fuse, .gateway, .curl))
        func noSize() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                try Mount(try bucket.flags() + [bucket.name], in: workspace).attempt().expectFailure(mentioning: "--size")
                #expect(try bucket.keys().isEmpty)
            }
        }

        @Test(
            "a volume without block 0 is opened only when both sizes are given, and its other blocks are kept",
            .needs(.root, .fuse, .gateway, .curl))
        func blocksWithoutBlockZero() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let bytes = Data(repeating: 0x41, count: 8_192)
                try bucket.put(bytes, to: "v/00000003")
                let flags = try bucket.flags() + ["--prefix=v/"]
                for sizes in [[], ["--size=1m"], ["--blockSize=8k"]] {
                    try Mount(flags + sizes + [bucket.name], in: workspace).attempt().expectFailure(mentioning: "size")
                }
                #expect(try bucket.keys() == ["v/00000003"])
                let mount = try Mount(flags + ["--size=1m", "--blockSize=8k", bucket.name], in: workspace)
                try mount.start()
                let pattern = try Pattern(in: workspace, count: 8_192)
                try pattern.write(to: mount.file, at: 8_192 * 5)
                try Command.shell("head -c 8192 /dev/zero | tr '\\0' A | cmp -n 8192 -i 0:24576 - \"$1\"", [mount.file])
                try mount.unmount()
                #expect(try bucket.keys() == ["v/00000000", "v/00000003", "v/00000005"])
                #expect(try bucket.get("v/00000003") == bytes)
                let again = try Mount(flags + [bucket.name], in: workspace, name: "again")
                try again.start()
                #expect(try again.size() == 1 << 20)
                try pattern.compare(with: again.file, at: 8_192 * 5)
                try again.unmount()
            }
        }

        @Test(
            "nonsense in the metadata of block 0 is refused in one line and never taken for sizes",
            .needs(.root, .fuse, .gateway, .curl),
            arguments: [
                ("banana", "4096"), ("1048576", "-1"), ("1048576", "3000"), ("1000", "4096"),
                ("99999999999999999999999", "4096"), ("1048576", "4294967296"),
            ])
        func nonsenseMetadata(fileSize: String, blockSize: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let bytes = Data(repeating: 0x42, count: 4_096)
                try bucket.put(
                    bytes, to: "00000000",
                    headers: ["x-amz-meta-s3backer-filesize": fileSize, "x-amz-meta-s3backer-blocksize": blockSize])
                let mount = try Mount(try bucket.flags() + [bucket.name], in: workspace)
                try mount.attempt().expectFailure(mentioning: "size")
                #expect(try bucket.keys() == ["00000000"])
                #expect(try bucket.get("00000000") == bytes)
            }
        }
    }
}
