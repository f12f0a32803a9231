// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// A network that is slow, narrow, stalled or gone.
    @Suite struct OutageTests {
        @Test(
            "a copy ends well although the server answers slowly, dies, and comes back",
            .needs(.root, .fuse, .loop, .gateway, .curl))
        func outageDuringCopy() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let flags = try bucket.flags(port: proxy.port)
                let tree = try SampleTree(in: workspace, fileCount: 500)
                let inside = try workspace.directory("inside")
                let mount = try Mount(flags + ["--size=64m", "--blockSize=64k", bucket.name], in: workspace)
                try mount.start()
                let device = try LoopDevice(over: mount.file)
                try FileSystem.ext4.make(on: device.path)
                try FileSystem.ext4.mount(device.path, at: inside)

                // The cache takes the copy at once; what takes time is to bring it to the store.
                proxy.set { $0.answerDelay = .milliseconds(2000) }
                let script = "cp -a \"$1\" \"$2/\" && sync -f \"$2\""
                let copy = try ChildProcess(
                    "timeout", ["-k", "5", "180", "bash", "-c", script, "bash", tree.path, inside], log: workspace.file("copy"))
                usleep(1_500_000)
                #expect(copy.poll() == nil, "the copy must not have ended before the server dies")
                proxy.goDown()
                usleep(8_000_000)
                #expect(copy.poll() == nil, "the copy must not end while there is no server: \(copy.log)")
                try proxy.comeBack()
                proxy.set { $0.answerDelay = .zero }
                #expect(try copy.wait(seconds: 120) == 0, "\(copy.log)")
                try FileSystem.ext4.unmount(inside)
                try device.detach()
                // The daemon waits, at most a minute, until requests that were never answered can no longer arrive.
                try mount.unmount(seconds: 120)

                let again = try Mount(try bucket.flags() + [bucket.name], in: workspace, name: "again")
                try again.start()
                let reader = try LoopDevice(over: again.file)
                try FileSystem.ext4.check(reader.path)
                try FileSystem.ext4.mount(reader.path, at: inside)
                try tree.compare(with: inside)
                try FileSystem.ext4.unmount(inside)
                try reader.detach()
                try again.unmount()
            }
        }

        @Test(
            "24 blocks of 1 MiB at once use at least 80 % of a line of 10 Mbit/s, though each takes longer than the time-out",
            .needs(.root, .fuse, .gateway, .curl, .fio))
        func narrowLine() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let mount = try Mount(
                    try bucket.flags(port: proxy.port) + ["--size=64m", "--blockSize=1m", "--timeout=8", bucket.name],
                    in: workspace)
                try mount.start()
                proxy.set { $0.uploadBitsPerSecond = 10_000_000 }
                proxy.forget()
                let start = ContinuousClock.now
                _ = try Fio(
                    file: mount.file,
                    [
                        "--rw=write", "--bs=1m", "--size=24m", "--ioengine=libaio", "--iodepth=24", "--end_fsync=1",
                        "--refill_buffers=1",
                    ], seconds: 100)
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                // fio ends with fsync: everything has arrived.
                #expect(try bucket.blockKeys().count >= 24)
                let bits = Double(24 << 20) * 8
                #expect(bits / seconds >= 0.8 * 10_000_000, "\(bits / seconds / 1e6) Mbit/s in \(seconds) s")
                #expect(proxy.bytesUp < (24 << 20) * 5 / 4, "bytes were sent more than once: \(proxy.bytesUp)")
                proxy.set { $0.uploadBitsPerSecond = nil }
                try mount.unmount()
            }
        }

        @Test(
            "200 stalled asynchronous writes do not delay a read that needs no network",
            .needs(.root, .fuse, .gateway, .curl, .fio))
        func stalledWrites() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let mount = try Mount(
                    try bucket.flags(port: proxy.port) + ["--size=64m", "--blockSize=64k", bucket.name], in: workspace)
                try mount.start()
                // The first write of a volume waits for block 0; this one does.
                try Pattern(in: workspace, count: 65_536).write(to: mount.file)
                // Once read, these blocks are known to be zero.
                let zeros = ["if=\(mount.file)", "of=/dev/null", "bs=64k", "skip=800", "count=4", "iflag=direct"]
                try Command.run("dd", zeros)
                proxy.set { $0.isStalled = true }
                let writer = try ChildProcess(
                    "timeout",
                    ["-k", "5", "100", "fio"]
                        + Fio.arguments(
                            file: mount.file,
                            [
                                "--rw=write", "--bs=64k", "--size=12800k", "--ioengine=libaio", "--iodepth=200",
                                "--refill_buffers=1",
                            ]),
                    log: workspace.file("writer"))
                #expect(eventually(within: 20) { proxy.inFlight >= 8 }, "no write got as far as the network")
                // Until no more requests come: all 200 writes wait in the daemon then.
                var seen = -1
                _ = eventually(within: 10) {
                    let now = proxy.inFlight
                    defer { seen = now }
                    usleep(300_000)
                    return now == seen
                }
                let read = try Command.attempt("dd", zeros, seconds: 20)
                #expect(read.status == 0)
                #expect(read.seconds < 1, "\(read)")
                #expect(writer.poll() == nil)
                proxy.set { $0.isStalled = false }
                #expect(try writer.wait(seconds: 90) == 0, "\(writer.log)")
                try mount.unmount()
                #expect(try bucket.blockKeys().count == 200)
            }
        }

        @Test(
            "requests whose answers are lost are done once: the start, writes, zeroing and the end of a mount",
            .needs(.root, .fuse, .gateway, .curl), arguments: ["PUT", "DELETE", "POST", "GET", "HEAD"])
        func lostAnswers(method: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let lose = { (count: Int) in
                    proxy.set { conditions in
                        conditions.answers = .replaced(by: "")
                        conditions.replacedMethod = method
                        conditions.replacedCount = count
                    }
                }
                let flags = try bucket.flags(port: proxy.port) + ["--timeout=5", "--initialRetryPause=50"]
                lose(2)
                let mount = try Mount(flags + ["--size=4m", "--blockSize=64k", bucket.name], in: workspace)
                try mount.start()
                let model = workspace.file("model")
                try Command.run("truncate", ["-s", "4M", model])
                for round in 0..<3 {
                    let pattern = try Pattern(in: workspace, count: 500_000, seed: UInt64(round))
                    lose(3)
                    for file in [mount.file, model] {
                        try pattern.write(to: file, at: 300_000 * round)
                        try Command.run("fallocate", ["-p", "-o", "\(65_536 * 3 * round)", "-l", "\(65_536 * 2)", file])
                        try Command.run(
                            "dd", ["if=/dev/zero", "of=\(file)", "bs=64k", "seek=40", "count=3", "conv=notrunc,fsync"])
                    }
                    try Command.run("cmp", [model, mount.file])
                }
                lose(1)
                try mount.unmount(seconds: 100)
                #expect(try bucket.head("s3backer-mounted") == nil)
                lose(2)
                let again = try Mount(flags + ["--readOnly", bucket.name], in: workspace, name: "again")
                try again.start()
                try Command.run("cmp", [model, again.file])
                try again.unmount(seconds: 100)
            }
        }
    }
}
