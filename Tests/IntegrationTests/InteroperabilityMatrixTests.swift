// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// A file system that Debian's s3backer 1.5.4 and this program hand to each other, with every way of storing blocks that
    /// both have.
    @Suite struct InteroperabilityMatrixTests {
        /// Which program something is done with.
        enum Program: String, Sendable, CaseIterable {
            case old
            case new

            var other: Program { self == .old ? .new : .old }
            var binary: String { self == .old ? Mount.debianBinary : Mount.binary }
        }

        /// One way of storing blocks; the flags are the same for both programs.
        struct Form: Sendable {
            let name: String
            let flags: [String]
            var isEncrypted: Bool { flags.contains { $0.hasPrefix("--encrypt") } }

            static let all = [
                Form(name: "plain", flags: []),
                Form(name: "deflate level 1", flags: ["--compress=1"]),
                Form(name: "deflate level 9", flags: ["--compress=9"]),
                Form(name: "AES-128-CBC", flags: ["--encrypt"]),
                Form(name: "AES-256-CBC", flags: ["--encrypt=AES-256-CBC"]),
                Form(name: "DES-EDE3-CBC", flags: ["--encrypt=des-ede3-cbc", "--compress=1"]),
                Form(name: "AES-128-CBC with 40 bytes of key", flags: ["--encrypt=AES-128-CBC", "--keyLength=40"]),
            ]
        }

        /// The size of a block, and a disk on which ext4 has room.
        struct Sizes: Sendable {
            let block: String
            let disk: String

            static let all = [
                Sizes(block: "4k", disk: "12m"), Sizes(block: "128k", disk: "16m"), Sizes(block: "1m", disk: "32m"),
            ]
        }

        /// A cell of the matrix.
        struct Cell: Sendable, CustomTestStringConvertible {
            let form: Form
            let sizes: Sizes
            let isHashed: Bool
            let maker: Program

            var testDescription: String {
                "\(form.name), \(sizes.block), \(isHashed ? "hashed" : "plain") names, made by the \(maker.rawValue) program"
            }

            static let all = Form.all.flatMap { form in
                Sizes.all.flatMap { sizes in
                    [false, true].flatMap { isHashed in
                        Program.allCases.map { Cell(form: form, sizes: sizes, isHashed: isHashed, maker: $0) }
                    }
                }
            }
        }

        @Test(
            "ext4 made by one program is checked and changed by the other, and checked again by the first",
            .needs(.root, .fuse, .loop, .gateway, .curl, .debianS3Backer), arguments: Cell.all)
        func handOver(_ cell: Cell) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let inside = try workspace.directory("inside")
                let first = try SampleTree(in: workspace, name: "first", fileCount: 30, seed: 1)
                let second = try SampleTree(in: workspace, name: "second", fileCount: 30, seed: 2)
                let flags = try flags(cell, bucket, workspace)

                let made = try mount(
                    flags + ["--size=\(cell.sizes.disk)", "--blockSize=\(cell.sizes.block)"], bucket, workspace, "made",
                    cell.maker)
                try using(made) { device in
                    try FileSystem.ext4.make(on: device, options: ["-b", "4096"])
                    try FileSystem.ext4.mount(device, at: inside)
                    try first.copy(to: inside)
                    try FileSystem.ext4.unmount(inside)
                }
                let changed = try mount(flags, bucket, workspace, "changed", cell.maker.other)
                try using(changed) { device in
                    try FileSystem.ext4.check(device)
                    try FileSystem.ext4.mount(device, at: inside)
                    try first.compare(with: inside)
                    try Command.run("rm", ["-r", "\(inside)/first/d1"], seconds: 60)
                    try second.copy(to: inside)
                    try FileSystem.ext4.unmount(inside)
                }
                let checked = try mount(flags, bucket, workspace, "checked", cell.maker)
                try using(checked) { device in
                    try FileSystem.ext4.check(device)
                    try FileSystem.ext4.mount(device, at: inside)
                    try second.compare(with: inside)
                    try Command.run("rm", ["-r", "\(first.path)/d1"])
                    try first.compare(with: inside)
                    try FileSystem.ext4.unmount(inside)
                }
                try expectForm(cell, bucket)
            }
        }

        private func flags(_ cell: Cell, _ bucket: Bucket, _ workspace: Workspace) throws -> [String] {
            var flags = try bucket.flags() + ["--prefix=vm/"] + cell.form.flags
            if cell.isHashed { flags.append("--blockHashPrefix") }
            if cell.form.isEncrypted { flags.append("--passwordFile=\(try workspace.write("hunter2 é\n", to: "password"))") }
            return flags
        }

        private func mount(
            _ flags: [String], _ bucket: Bucket, _ workspace: Workspace, _ name: String, _ program: Program
        ) throws -> Mount {
            let signature = program == .old ? ["--authVersion=aws4"] : []
            let mount = try Mount(flags + signature + [bucket.name], in: workspace, name: name, program: program.binary)
            return try mount.start()
        }

        /// Lends a loop device over the disk, and ends the mount after it.
        private func using(_ mount: Mount, _ body: (String) throws -> Void) throws {
            let device = try LoopDevice(over: mount.file)
            try body(device.path)
            try device.detach()
            try mount.unmount()
        }

        /// Looks at the objects: what both programs agree on must also be what was asked for.
        private func expectForm(_ cell: Cell, _ bucket: Bucket) throws {
            let keys = try bucket.blockKeys(prefix: "vm/")
            #expect(keys.count > 5)
            for key in keys.prefix(3) {
                let head = try #require(try bucket.head(key))
                let encoding = head["content-encoding"] ?? ""
                #expect(encoding.contains("encrypt-") == cell.form.isEncrypted, "\(key): \(encoding)")
                #expect((head["x-amz-meta-s3backer-hmac"] != nil) == cell.form.isEncrypted)
                #expect(encoding.contains("deflate") == (cell.form.name != "plain"), "\(key): \(encoding)")
            }
        }
    }
}
