// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// 30 ms added to every answer: requests must overlap.
    @Suite struct RoundTripTests {
        @Test(
            "a read of 1 MiB of blocks of 64 KiB that nobody has cached takes at most two round trips",
            .needs(.root, .fuse, .gateway, .curl), arguments: ["iflag=direct", "iflag=fullblock"])
        func wideRead(flag: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags()
                let pattern = try Pattern(in: workspace, count: 8 << 20)
                let writer = try Mount(flags + ["--size=8m", "--blockSize=64k", bucket.name], in: workspace, name: "writer")
                try writer.start()
                try pattern.write(to: writer.file)
                try writer.unmount()

                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let direct = flag == "iflag=direct" ? [] : ["--directIO"]
                let mount = try Mount(
                    try bucket.flags(port: proxy.port) + direct + ["--readOnly", "--readAhead=0", bucket.name], in: workspace)
                try mount.start()
                proxy.set { $0.answerDelay = .milliseconds(30) }
                // The first one opens the connections.
                let words = ["if=\(mount.file)", "bs=1M", "count=1", flag]
                try Command.run("dd", words + ["of=/dev/null"])
                proxy.forget()
                try Command.run("dd", words + ["of=\(workspace.file("part"))", "skip=4"])
                let requests = proxy.requests
                #expect(requests.count == 16, "\(requests.map(\.line))")
                #expect(requests.roundTrips <= 2, "\(requests.roundTrips) round trips")
                try Command.run("cmp", ["-n", "\(1 << 20)", "-i", "\(4 << 20):0", pattern.path, workspace.file("part")])
                proxy.set { $0.answerDelay = .zero }
                try mount.unmount()
            }
        }

        @Test("fio with a queue of 32 keeps 32 requests in flight", .needs(.root, .fuse, .gateway, .curl, .fio))
        func deepQueue() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let pattern = try Pattern(in: workspace, count: 16 << 20)
                let writer = try Mount(
                    try bucket.flags() + ["--size=16m", "--blockSize=4k", bucket.name], in: workspace, name: "writer")
                try writer.start()
                try pattern.write(to: writer.file)
                try writer.unmount()

                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let mount = try Mount(
                    try bucket.flags(port: proxy.port) + ["--readOnly", "--readAhead=0", bucket.name], in: workspace)
                try mount.start()
                proxy.set { $0.answerDelay = .milliseconds(30) }
                proxy.forget()
                let report = try Fio(
                    file: mount.file,
                    [
                        "--rw=randread", "--bs=4k", "--size=16m", "--io_size=6m", "--ioengine=libaio", "--iodepth=32",
                        "--readonly", "--randseed=3",
                    ])
                let requests = proxy.requests
                #expect(report.read.total_ios == 1_536)
                #expect(requests.inFlightMax == 32)
                #expect(requests.inFlightMean >= 24, "\(requests.inFlightMean) on average")
                proxy.set { $0.answerDelay = .zero }
                try mount.unmount()
            }
        }
    }
}
