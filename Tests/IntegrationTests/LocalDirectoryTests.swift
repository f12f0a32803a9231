// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// `--test`: a local directory as the store.
    @Suite struct LocalDirectoryTests {
        private func mount(
            _ workspace: Workspace, size: String = "64m", blockSize: String = "64k", more: [String] = [], name: String = "mount"
        ) throws -> Mount {
            let store = try workspace.directory("store")
            return try Mount(
                ["--test", "--size=\(size)", "--blockSize=\(blockSize)"] + more + [store], in: workspace, name: name)
        }

        @Test(
            "a file system that was synced survives kill -9 of the daemon, and is mounted again without sizes",
            .needs(.root, .fuse, .loop))
        func killedUnderFileSystem() throws {
            try withWorkspace { workspace in
                let tree = try SampleTree(in: workspace, fileCount: 300)
                let inside = try workspace.directory("inside")
                let first = try mount(workspace)
                try first.start()
                let device = try LoopDevice(over: first.file)
                try FileSystem.ext4.make(on: device.path)
                try FileSystem.ext4.mount(device.path, at: inside)
                try tree.copy(to: inside)
                try Command.run("sync", ["-f", inside])
                first.signal(SIGKILL)
                try first.waitForEnd(seconds: 10)
                // In use, so it goes with the file system.
                try Command.run("losetup", ["-d", device.path])
                try Command.run("umount", ["-l", inside])
                try Command.run("umount", ["-l", first.point])

                let refused = try Mount(["--test", workspace.file("store")], in: workspace, name: "refused")
                try refused.attempt().expectFailure(mentioning: "already mounted", "--reset-mounted-flag")
                try Command.run(Mount.binary, ["--test", "--reset-mounted-flag", workspace.file("store")])
                let second = try Mount(["--test", workspace.file("store")], in: workspace, name: "again")
                try second.start()
                let again = try LoopDevice(over: second.file)
                try FileSystem.ext4.mount(again.path, at: inside)
                try tree.compare(with: inside)
                try FileSystem.ext4.unmount(inside)
                try FileSystem.ext4.check(again.path)
                try again.detach()
                try second.unmount()
                let names = try FileManager.default.contentsOfDirectory(atPath: workspace.file("store"))
                let blocks = names.filter { !$0.hasPrefix(".s3backer.") }
                #expect(blocks.allSatisfy { $0.count == 8 && $0.allSatisfy(\.isHexDigit) }, "\(blocks)")
            }
        }

        @Test("the statistics file counts, and starts again when it is removed", .needs(.root, .fuse, .gateway, .curl))
        func statistics() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                // Else the cache answers the reads.
                let mount = try Mount(
                    try bucket.flags() + ["--size=1m", "--blockSize=64k", "--blockCacheSize=0", bucket.name], in: workspace)
                try mount.start()
                try Pattern(in: workspace, count: 65_536 * 3).write(to: mount.file, at: 65_536)
                try Command.run("dd", ["if=\(mount.file)", "of=/dev/null", "bs=64k", "count=6", "iflag=direct"])
                let text = try Command.run("cat", [mount.statisticsFile]).output
                for line in text.split(separator: "\n") {
                    let isOld = line.range(of: "^[a-z0-9_]+ +[0-9.]+( sec| blocks)?$", options: .regularExpression) != nil
                    #expect(isOld, "\(line)")
                }
                #expect(text.contains("http_normal_blocks_written   "))
                #expect(text.hasSuffix("\n") && text.contains("\nout_of_memory_errors         0\n"))
                #expect(try mount.counter("http_normal_blocks_written") >= 3)
                #expect(try mount.counter("http_normal_blocks_read") >= 3)
                #expect(try mount.counter("http_zero_blocks_read") >= 1)
                let size = try Command.run("stat", ["-c", "%s %a", mount.statisticsFile]).output
                #expect(size.hasSuffix(" 444\n") && !size.hasPrefix("0 "))

                try Command.run("rm", ["-f", mount.statisticsFile])
                #expect(try mount.counter("http_normal_blocks_written") == 0)
                #expect(try mount.counter("http_gets") == 0)
                #expect(try Command.attempt("rm", ["-f", mount.file]).status != 0)
                try mount.unmount()
            }
        }

        @Test("a signal unmounts, and the daemon ends with status 0", .needs(.root, .fuse), arguments: [SIGTERM, SIGINT, SIGHUP])
        func signalEnds(number: Int32) throws {
            try withWorkspace { workspace in
                let mount = try mount(workspace, more: number == SIGHUP ? ["--readOnly"] : [])
                try mount.startInForeground()
                if number != SIGHUP { try Pattern(in: workspace, count: 200_000).write(to: mount.file) }
                mount.signal(number)
                #expect(try mount.waitForEnd(seconds: 20) == 0, "\(mount.log)")
                #expect(!mount.isMounted)
            }
        }

        @Test("a signal that was ignored when the daemon started stays ignored, as nohup(1) wants it", .needs(.root, .fuse))
        func ignoredSignal() throws {
            try withWorkspace { workspace in
                let arguments = ["-f", "--test", "--size=1m", try workspace.directory("store"), try workspace.directory("point")]
                let child = try ChildProcess("nohup", [Mount.binary] + arguments, log: workspace.file("log"))
                #expect(eventually(within: 20) { child.log.contains(" started\n") }, "\(child.log)")
                // Were both taken, the hangup would come first: its number is the smaller one.
                child.signal(SIGHUP)
                child.signal(SIGTERM)
                #expect(try child.wait(seconds: 20) == 0)
                #expect(child.log.contains("signal=TERM") && !child.log.contains("signal=HUP"), "\(child.log)")
            }
        }

        @Test("the copy of the statistics is kept up to date, and removing it sets the counters back", .needs(.root, .fuse))
        func statisticsMirror() throws {
            try withWorkspace { workspace in
                let copy = workspace.file("copy")
                let mount = try mount(workspace, more: ["--statsFileMirror=\(copy)", "--statsFileMirrorInterval=50"])
                try mount.start()
                let text = { (try? String(contentsOfFile: copy, encoding: .utf8)) ?? "" }
                // The second read of a block that has no object is a hit.
                for _ in 0..<2 {
                    try Command.run("dd", ["if=\(mount.file)", "of=/dev/null", "bs=64k", "count=1", "iflag=direct"])
                }
                let hit = /zero_block_cache_read_hits +[1-9]/
                #expect(eventually(within: 10) { text().contains(hit) }, "\(text())")
                try Command.run("rm", [copy])
                #expect(eventually(within: 10) { !text().isEmpty && !text().contains(hit) }, "\(text())")
                try mount.unmount()
                #expect(!text().isEmpty)
            }
        }

        @Test("after SIGTERM a disk that a loop device holds is served until the device lets go", .needs(.root, .fuse, .loop))
        func signalWhileHeld() throws {
            try withWorkspace { workspace in
                let mount = try mount(workspace)
                try mount.startInForeground()
                let pattern = try Pattern(in: workspace, count: 1 << 20)
                let device = try LoopDevice(over: mount.file)
                mount.signal(SIGTERM)
                // The answer to the signal is a line in the log; that is when it must still serve.
                #expect(eventually(within: 10) { mount.log.contains("still") || mount.log.contains("in use") }, "\(mount.log)")
                try pattern.write(to: device.path, at: 1 << 20)
                try Command.run("blockdev", ["--flushbufs", device.path])
                try pattern.compare(with: device.path, at: 1 << 20)
                #expect(mount.isMounted)
                try device.detach()
                #expect(try mount.waitForEnd(seconds: 20) == 0, "\(mount.log)")
                #expect(!mount.isMounted)

                let again = try self.mount(workspace, name: "again")
                try again.start()
                try pattern.compare(with: again.file, at: 1 << 20)
                try again.unmount()
            }
        }

        @Test("a full local disk fails the write with ENOSPC and loses nothing written before", .needs(.root, .fuse))
        func fullDisk() throws {
            try withWorkspace { workspace in
                let store = try workspace.directory("store")
                try Command.run("mount", ["-t", "tmpfs", "-o", "size=4m", "none", store])
                let mount = try mount(workspace, size: "16m")
                try mount.start()
                let kept = try Pattern(in: workspace, name: "kept", count: 1 << 20, seed: 1)
                try kept.write(to: mount.file)
                let tooMuch = try Pattern(in: workspace, name: "much", count: 8 << 20, seed: 2)
                let result = try tooMuch.attemptWrite(to: mount.file, at: 4 << 20)
                #expect(result.status == 1, "\(result)")
                #expect(result.errorOutput.contains("No space left on device"), "\(result)")
                try kept.compare(with: mount.file)
                // Zeroing gives room back, and the disk goes on.
                try Command.run("fallocate", ["-p", "-o", "\(4 << 20)", "-l", "\(8 << 20)", mount.file])
                let small = try Pattern(in: workspace, name: "small", count: 1 << 20, seed: 3)
                try small.write(to: mount.file, at: 8 << 20)
                try small.compare(with: mount.file, at: 8 << 20)
                try kept.compare(with: mount.file)
                try mount.unmount()
                try Command.run("umount", [store])
            }
        }

        @Test("punching a hole and zeroing a range both read as zeros and leave the rest", .needs(.root, .fuse))
        func zeroing() throws {
            try withWorkspace { workspace in
                let mount = try mount(workspace, size: "4m")
                try mount.start()
                let pattern = try Pattern(in: workspace, count: 4 << 20)
                try pattern.write(to: mount.file)
                try Command.run("cp", [pattern.path, workspace.file("model")])
                for words in [["-p", "-o", "100000", "-l", "700000"], ["-z", "-n", "-o", "2000001", "-l", "900000"]] {
                    for file in [mount.file, workspace.file("model")] {
                        try Command.run("fallocate", words + [file])
                    }
                    try Command.run("cmp", [workspace.file("model"), mount.file])
                }
                let beyond = try Command.attempt("fallocate", ["-n", "-o", "4194304", "-l", "4096", mount.file])
                #expect(beyond.status != 0)
                try mount.unmount()
            }
        }
    }
}
