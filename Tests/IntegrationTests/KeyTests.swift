// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Names of objects as they arrive at the server.
    @Suite struct KeyTests {
        @Test(
            "a prefix with blanks, plus, percent, question mark and UTF-8 stands in the key as it was given",
            .needs(.root, .fuse, .gateway, .curl),
            arguments: ["a b+c/", "é ü/日本 +", "q?x&y=z/", "100%20/", "~-._/"], [false, true])
        func oddPrefix(prefix: String, isSubdirectory: Bool) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                guard !isSubdirectory || prefix.hasSuffix("/") else { return }
                let place = isSubdirectory ? ["\(bucket.name)/\(prefix.dropLast())"] : ["--prefix=\(prefix)", bucket.name]
                let flags = try bucket.flags()
                let mount = try Mount(flags + ["--size=1m", "--blockSize=4k"] + place, in: workspace)
                try mount.start()
                let pattern = try Pattern(in: workspace, count: 8_192)
                try pattern.write(to: mount.file, at: 4_096 * 17)
                #expect(try bucket.keys().contains("\(prefix)s3backer-mounted"))
                try mount.unmount()
                #expect(try bucket.keys() == ["00000000", "00000011", "00000012"].map { prefix + $0 })
                let again = try Mount(flags + place, in: workspace, name: "again")
                try again.start()
                try pattern.compare(with: again.file, at: 4_096 * 17)
                try again.unmount()
            }
        }

        @Test("--blockHashPrefix names objects as the format says", .needs(.root, .fuse, .gateway, .curl))
        func hashPrefix() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags() + ["--prefix=v-", "--blockHashPrefix"]
                let mount = try Mount(flags + ["--size=4m", "--blockSize=4k", bucket.name], in: workspace)
                try mount.start()
                let pattern = try Pattern(in: workspace, count: 4_096)
                for block in [0, 1, 2, 0x1ff] { try pattern.write(to: mount.file, at: 4_096 * block) }
                try mount.unmount()
                let names = ["c448b72c-00000000", "d211cad9-00000001", "7183baa1-00000002", "a6cb90c7-000001ff"]
                #expect(try bucket.keys() == names.map { "v-\($0)" }.sorted())
                let again = try Mount(flags + [bucket.name], in: workspace, name: "again")
                try again.start()
                try pattern.compare(with: again.file, at: 4_096 * 0x1ff)
                try again.unmount()
            }
        }

        @Test("two volumes with different prefixes live in one bucket", .needs(.root, .fuse, .gateway, .curl))
        func twoVolumes() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let mounts = try ["one/", "one", "two/"].enumerated().map { index, prefix in
                    let flags = try bucket.flags() + ["--prefix=\(prefix)", "--size=1m", "--blockSize=64k", bucket.name]
                    return try Mount(flags, in: workspace, name: "mount\(index)").start()
                }
                let patterns = try (0..<3).map { try Pattern(in: workspace, name: "p\($0)", count: 1 << 20, seed: UInt64($0)) }
                for (mount, pattern) in zip(mounts, patterns) { try pattern.write(to: mount.file) }
                for (mount, pattern) in zip(mounts, patterns) {
                    try pattern.compare(with: mount.file)
                    try mount.unmount()
                }
                #expect(try bucket.keys().count == 48)
            }
        }
    }
}
