// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Real file systems on a loop device over the disk file, in a bucket.
    @Suite struct FileSystemTests {
        /// One file system in one geometry.
        struct Layout: Sendable, CustomTestStringConvertible {
            let fileSystem: FileSystem
            let size: String
            let blockSize: String
            let fileCount: Int

            var testDescription: String { "\(fileSystem.rawValue) on blocks of \(blockSize)" }

            static let all = [
                Layout(fileSystem: .ext4, size: "256m", blockSize: "64k", fileCount: 1_500),
                Layout(fileSystem: .xfs, size: "512m", blockSize: "64k", fileCount: 1_500),
                Layout(fileSystem: .btrfs, size: "256m", blockSize: "64k", fileCount: 1_500),
                Layout(fileSystem: .btrfs, size: "256m", blockSize: "4k", fileCount: 300),
            ]
        }

        @Test(
            "a tree copied into a file system is the same after a remount that is given no sizes",
            .needs(.root, .fuse, .loop, .gateway, .curl, .xfs, .btrfs), arguments: Layout.all)
        func treeSurvivesRemount(_ layout: Layout) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let tree = try SampleTree(in: workspace, fileCount: layout.fileCount)
                let inside = try workspace.directory("inside")
                let flags = try bucket.flags() + ["--prefix=disk-"]

                let first = try Mount(
                    flags + ["--size=\(layout.size)", "--blockSize=\(layout.blockSize)", bucket.name], in: workspace)
                try first.start()
                let size = try first.size()
                let device = try LoopDevice(over: first.file)
                try layout.fileSystem.make(on: device.path)
                try layout.fileSystem.mount(device.path, at: inside)
                try tree.copy(to: inside)
                try layout.fileSystem.unmount(inside)
                try device.detach()
                try first.unmount()
                #expect(try bucket.head("disk-s3backer-mounted") == nil, "the mount token is left behind")

                let second = try Mount(flags + [bucket.name], in: workspace, name: "again")
                try second.start()
                #expect(try second.size() == size)
                let again = try LoopDevice(over: second.file)
                try layout.fileSystem.check(again.path)
                try layout.fileSystem.mount(again.path, at: inside)
                try tree.compare(with: inside)
                try layout.fileSystem.unmount(inside)
                try again.detach()
                try second.unmount()
            }
        }

        @Test(
            "a disk that is discarded as a whole reads as zeros, keeps no object but block 0, and is mounted without sizes",
            .needs(.root, .fuse, .loop, .gateway, .curl, .btrfs), arguments: ["4k", "64k"])
        func wholeDiskDiscard(blockSize: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags()
                let inside = try workspace.directory("inside")
                let tree = try SampleTree(in: workspace, fileCount: 200)
                let first = try Mount(flags + ["--size=128m", "--blockSize=\(blockSize)", bucket.name], in: workspace)
                try first.start()
                let device = try LoopDevice(over: first.file)
                try FileSystem.btrfs.make(on: device.path)
                try FileSystem.btrfs.mount(device.path, at: inside)
                try tree.copy(to: inside)
                try FileSystem.btrfs.unmount(inside)
                #expect(try bucket.blockKeys().count > 30)
                try Command.run("blkdiscard", ["-f", device.path], seconds: 120)
                try Command.run("cmp", ["-n", "\(128 << 20)", device.path, "/dev/zero"], seconds: 120)
                try device.detach()
                try first.unmount()

                #expect(try bucket.keys() == ["00000000"])
                let head = try bucket.head("00000000")
                #expect(head?["x-amz-meta-s3backer-filesize"] == "\(128 << 20)")
                let second = try Mount(flags + [bucket.name], in: workspace, name: "again")
                try second.start()
                #expect(try second.size() == 128 << 20)
                try Command.run("cmp", ["-n", "\(128 << 20)", second.file, "/dev/zero"], seconds: 120)
                try second.unmount()
            }
        }

        @Test(
            "objects vanish when a file system is trimmed, and when one is made anew",
            .needs(.root, .fuse, .loop, .gateway, .curl))
        func discardsDeleteObjects() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let inside = try workspace.directory("inside")
                let mount = try Mount(try bucket.flags() + ["--size=64m", "--blockSize=64k", bucket.name], in: workspace)
                try mount.start()
                let device = try LoopDevice(over: mount.file)
                try FileSystem.ext4.make(on: device.path)
                let empty = try bucket.blockKeys().count
                try FileSystem.ext4.mount(device.path, at: inside)
                let pattern = try Pattern(in: workspace, count: 16 << 20)
                try Command.run("cp", [pattern.path, "\(inside)/large"])
                try Command.run("sync", ["-f", inside])
                let full = try bucket.blockKeys().count
                #expect(full >= empty + 250)

                try Command.run("rm", ["\(inside)/large"])
                try Command.run("sync", ["-f", inside])
                try Command.run("fstrim", [inside])
                // A trim is accepted by the cache; the objects go soon after.
                #expect(try eventually(within: 20) { try bucket.blockKeys().count <= full - 250 })

                try Command.run("cp", [pattern.path, "\(inside)/large"])
                try FileSystem.ext4.unmount(inside)
                #expect(try bucket.blockKeys().count >= empty + 250)
                try FileSystem.ext4.make(on: device.path)
                #expect(try bucket.blockKeys().count <= empty + 3)
                try device.detach()
                try mount.unmount()
            }
        }

        @Test("fio reads back what it wrote", .needs(.root, .fuse, .gateway, .curl, .fio), arguments: ["4k", "64k", "1m"])
        func fioVerifies(blockSize: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags() + [bucket.name]
                let mount = try Mount(["--size=32m", "--blockSize=\(blockSize)"] + flags, in: workspace)
                try mount.start()
                let job = [
                    "--rw=randwrite", "--bsrange=4k-256k", "--blockalign=4k", "--ioengine=libaio", "--iodepth=16", "--size=32m",
                    "--io_size=24m", "--verify=crc32c", "--verify_fatal=1", "--randseed=11", "--norandommap=0",
                ]
                _ = try Fio(file: mount.file, job)
                // Not what the daemon or the kernel remembers: a new process reads the same from the bucket.
                try Command.shell("cp --sparse=never $1 $2", [mount.file, workspace.file("copy")])
                try mount.unmount()
                let again = try Mount(flags, in: workspace, name: "again")
                try again.start()
                try Command.run("cmp", [workspace.file("copy"), again.file])
                try again.unmount()
            }
        }
    }
}
