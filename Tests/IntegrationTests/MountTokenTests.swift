// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// One writer at a time, and what happens when it dies.
    @Suite struct MountTokenTests {
        private static let token = "s3backer-mounted"

        @Test("a second mount of a volume is refused in one line that says what to do", .needs(.root, .fuse, .gateway, .curl))
        func secondMountIsRefused() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags() + ["--size=8m", "--blockSize=64k", bucket.name]
                let first = try Mount(flags, in: workspace)
                try first.start()
                let before = try bucket.head(Self.token)?["x-amz-meta-s3backer-mount-token"]
                #expect(before != nil)

                let second = try Mount(flags, in: workspace, name: "second")
                try second.attempt().expectFailure(mentioning: "already mounted", "--reset-mounted-flag", bucket.name)
                let reader = try Mount(["--readOnly"] + flags, in: workspace, name: "reader")
                try reader.attempt().expectFailure(mentioning: "already mounted")
                #expect(try bucket.head(Self.token)?["x-amz-meta-s3backer-mount-token"] == before)

                let pattern = try Pattern(in: workspace, count: 300_000)
                try pattern.write(to: first.file, at: 4_097)
                try pattern.compare(with: first.file, at: 4_097)
                try first.unmount()
                #expect(try bucket.head(Self.token) == nil)
            }
        }

        @Test(
            "after kill -9 a mount is refused, --reset-mounted-flag and --force each allow it, and nothing fsynced is lost",
            .needs(.root, .fuse, .gateway, .curl))
        func killedDaemon() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags() + [bucket.name]
                let first = try Mount(["--size=8m", "--blockSize=64k"] + flags, in: workspace)
                try first.start()
                let pattern = try Pattern(in: workspace, count: 1 << 20)
                try pattern.write(to: first.file, at: 65_536 * 3 + 512)
                try first.crash()

                let refused = try Mount(flags, in: workspace, name: "refused")
                try refused.attempt().expectFailure(mentioning: "already mounted", "--reset-mounted-flag")
                let reset = try Command.run(Mount.binary, ["--reset-mounted-flag"] + flags)
                #expect(reset.status == 0)
                #expect(try bucket.head(Self.token) == nil)
                let second = try Mount(flags, in: workspace, name: "second")
                try second.start()
                try pattern.compare(with: second.file, at: 65_536 * 3 + 512)
                try second.crash()

                let third = try Mount(["--force"] + flags, in: workspace, name: "third")
                try third.start()
                try pattern.compare(with: third.file, at: 65_536 * 3 + 512)
                try third.unmount()
                #expect(try bucket.head(Self.token) == nil)
            }
        }

        @Test(
            "a writer whose token was taken over notices it after a failed request, says so, and fails with ESTALE",
            .needs(.root, .fuse, .gateway, .curl))
        func takenOverToken() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let mount = try Mount(
                    try bucket.flags(port: proxy.port) + [
                        "--size=8m", "--blockSize=64k", "--initialRetryPause=100", "--maxRetryPause=300", "--flushTimeout=3",
                        bucket.name,
                    ], in: workspace)
                try mount.startInForeground()
                let mine = try Pattern(in: workspace, name: "mine", count: 65_536)
                try mine.write(to: mount.file, at: 65_536)

                try bucket.put(
                    Data("elsewhere\n".utf8), to: Self.token, headers: ["x-amz-meta-s3backer-mount-token": "0badcafe"])
                proxy.goDown()
                let late = try Pattern(in: workspace, name: "late", count: 65_536, seed: 8)
                #expect(try late.attemptWrite(to: mount.file, at: 65_536 * 2).status == 1)
                try proxy.comeBack()
                let next = try late.attemptWrite(to: mount.file, at: 65_536 * 4)
                #expect(next.status == 1, "\(next)")
                #expect(next.errorOutput.contains("Stale file handle"), "\(next)")
                #expect(try bucket.head("00000004") == nil)
                #expect(mount.log.contains("badcafe"), "\(mount.log)")
                #expect(try bucket.head("00000002") == nil)
                try mine.compare(with: mount.file, at: 65_536)
                _ = try Command.attempt("umount", [mount.point])
                try mount.waitForEnd()
                // It is not ours to remove.
                #expect(try bucket.head(Self.token)?["x-amz-meta-s3backer-mount-token"] == "0badcafe")
            }
        }

        @Test("two mounts that start at the same moment do not both succeed", .needs(.root, .fuse, .gateway, .curl))
        func simultaneousStarts() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags() + ["--size=8m", "--blockSize=64k", bucket.name]
                let points = try (0..<4).map { try workspace.directory("mount\($0)") }
                let children = try points.map { point in
                    try ChildProcess(Mount.binary, ["--quiet"] + flags + [point], log: point + ".log")
                }
                let statuses = try children.map { try $0.wait(seconds: 60) }
                #expect(statuses.count { $0 == 0 } == 1, "\(statuses)")
                #expect(statuses.count { $0 == 1 } == 3, "\(statuses)")
                for (child, status) in zip(children, statuses) where status != 0 {
                    #expect(child.log.contains("already mounted"), "\(child.log)")
                }
            }
        }
    }
}
