// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Volumes that go to and fro between Debian's s3backer 1.5.4 and this one.
    @Suite struct InteroperabilityTests {
        /// What the volume looks like.
        struct Kind: Sendable, CustomTestStringConvertible {
            let flags: [String]
            var testDescription: String { flags.joined(separator: " ") }

            static let all = [
                Kind(flags: ["--prefix=vm1/"]), Kind(flags: ["--prefix=plain"]),
                Kind(flags: ["--prefix=h-", "--blockHashPrefix"]),
            ]
        }

        private func oldFlags(_ bucket: Bucket) throws -> [String] {
            try bucket.flags() + ["--authVersion=aws4"]
        }

        private static let size = 6 << 20

        /// Bytes with gaps: what lies between was never written.
        private static let offsets = [0, 1 << 20, (3 << 20) + 777, (6 << 20) - 100_000]

        private func write(_ seed: UInt64, to file: String, in workspace: Workspace) throws {
            for (index, offset) in Self.offsets.enumerated() {
                let pattern = try Pattern(in: workspace, name: "p", count: 100_000, seed: seed + UInt64(index))
                try pattern.write(to: file, at: offset)
            }
            try Command.run("cp", ["--sparse=never", file, workspace.file("copy-\(seed)")])
        }

        @Test(
            "a volume that Debian's s3backer wrote is mounted with its sizes and its bytes",
            .needs(.root, .fuse, .gateway, .curl, .debianS3Backer), arguments: Kind.all)
        func fromOldToNew(_ kind: Kind) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let old = try Mount(
                    try oldFlags(bucket) + kind.flags + ["--size=6m", "--blockSize=8k", bucket.name], in: workspace,
                    name: "old", program: Mount.debianBinary)
                try old.start()
                try write(100, to: old.file, in: workspace)
                try old.unmount()

                let new = try Mount(try bucket.flags() + kind.flags + [bucket.name], in: workspace)
                try new.start()
                #expect(try new.size() == Self.size)
                #expect(try new.blockSize() == 8_192)
                try Command.run("cmp", [workspace.file("copy-100"), new.file])
                try write(200, to: new.file, in: workspace)
                try new.unmount()
                #expect(try bucket.keys().allSatisfy { !$0.hasSuffix("s3backer-mounted") })

                let reader = try Mount(
                    try oldFlags(bucket) + kind.flags + ["--readOnly", bucket.name], in: workspace, name: "reader",
                    program: Mount.debianBinary)
                try reader.start()
                try Command.run("cmp", [workspace.file("copy-200"), reader.file])
                try reader.unmount()
            }
        }

        @Test(
            "a volume that this program wrote is mounted by Debian's s3backer with its sizes and its bytes",
            .needs(.root, .fuse, .gateway, .curl, .debianS3Backer), arguments: Kind.all)
        func fromNewToOld(_ kind: Kind) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let new = try Mount(
                    try bucket.flags() + kind.flags + ["--size=6m", "--blockSize=8k", bucket.name], in: workspace)
                try new.start()
                try write(300, to: new.file, in: workspace)
                try new.unmount()

                let old = try Mount(
                    try oldFlags(bucket) + kind.flags + [bucket.name], in: workspace, name: "old", program: Mount.debianBinary)
                try old.start()
                #expect(try old.size() == Self.size)
                try Command.run("cmp", [workspace.file("copy-300"), old.file])
                try write(400, to: old.file, in: workspace)
                try old.unmount()

                let reader = try Mount(
                    try bucket.flags() + kind.flags + ["--readOnly", bucket.name], in: workspace, name: "reader")
                try reader.start()
                try Command.run("cmp", [workspace.file("copy-400"), reader.file])
                try reader.unmount()
            }
        }

        @Test(
            "either program refuses a volume that the other one has mounted",
            .needs(.root, .fuse, .gateway, .curl, .debianS3Backer))
        func mountTokensAreUnderstood() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let sizes = ["--size=6m", "--blockSize=8k", "--prefix=vm1/", bucket.name]
                let old = try Mount(try oldFlags(bucket) + sizes, in: workspace, name: "old", program: Mount.debianBinary)
                let new = try Mount(try bucket.flags() + sizes, in: workspace)
                try old.start()
                try new.attempt().expectFailure(mentioning: "already mounted")
                try old.unmount()
                try new.start()
                #expect(try old.attempt().status == 1)
                try new.unmount()
                #expect(try bucket.keys(prefix: "vm1/s3backer-mounted").isEmpty)
            }
        }
    }
}
