// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Encrypted volumes on a real store: passwords, tampering, secrets.
    @Suite struct EncryptionTests {
        /// The ways of encrypting, the compatible one and our own.
        static let schemes = ["--encrypt=AES-256-CBC", "--encrypt=AES-256-GCM"]

        private static let sizes = ["--size=1m", "--blockSize=64k"]
        private static let secret = "correct-horse-battery-staple"

        /// A volume with 300,000 bytes in it, unmounted again.
        private func makeVolume(
            _ scheme: String, _ bucket: Bucket, _ workspace: Workspace
        ) throws -> (flags: [String], pattern: Pattern) {
            let password = try workspace.write(Self.secret + "\n", to: "password")
            let flags = try bucket.flags() + [scheme, "--passwordFile=\(password)"]
            let mount = try Mount(flags + Self.sizes + [bucket.name], in: workspace, name: "maker")
            try mount.start()
            let pattern = try Pattern(in: workspace, count: 300_000)
            try pattern.write(to: mount.file)
            try pattern.compare(with: mount.file)
            try mount.unmount()
            return (flags, pattern)
        }

        private func expectPattern(_ pattern: Pattern, _ flags: [String], _ bucket: Bucket, _ workspace: Workspace) throws {
            let mount = try Mount(flags + ["--readOnly", bucket.name], in: workspace, name: "reader")
            try mount.start()
            try pattern.compare(with: mount.file)
            try mount.unmount()
        }

        @Test(
            "a wrong password, none, or another cipher is refused at the mount in one line, and changes nothing",
            .needs(.root, .fuse, .gateway, .curl), arguments: schemes)
        func wrongPassword(scheme: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let (flags, pattern) = try makeVolume(scheme, bucket, workspace)
                let keys = try bucket.keys()
                let heads = try keys.map { try bucket.head($0)?["etag"] }
                let wrong = try workspace.write("wrong-password-here\n", to: "wrong")
                let other = Self.schemes.first { $0 != scheme } ?? ""
                let access = try bucket.flags()
                let attempts: [([String], [String])] = [
                    (access + [scheme, "--passwordFile=\(wrong)"], ["password"]), (access, ["--encrypt"]),
                    (access + [other, "--passwordFile=\(wrong)"], [scheme.replacingOccurrences(of: "--encrypt=", with: "")]),
                ]
                for (wrongFlags, words) in attempts {
                    for more in [[], ["--readOnly"]] {
                        let mount = try Mount(wrongFlags + more + [bucket.name], in: workspace)
                        let result = try mount.attempt()
                        result.expectFailure(mentioning: words)
                        #expect(!result.errorOutput.contains("wrong-password-here"))
                        #expect(!mount.isMounted && mount.processes.isEmpty)
                    }
                }
                #expect(try bucket.keys() == keys)
                #expect(try keys.map { try bucket.head($0)?["etag"] } == heads)
                try expectPattern(pattern, flags, bucket, workspace)
            }
        }

        /// What somebody with access to the bucket may do to the object of block 2.
        enum Tampering: String, Sendable, CaseIterable {
            case bit, truncation, block, header, encoding, volume
        }

        @Test(
            "an object that was tampered with fails its read with EIO and one line that names block and cause",
            .needs(.root, .fuse, .gateway, .curl), arguments: schemes, Tampering.allCases)
        func tampering(scheme: String, tampering: Tampering) throws {
            // The other scheme has no such header.
            guard !(scheme.hasSuffix("GCM") && tampering == .header) else { return }
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let (flags, pattern) = try makeVolume(scheme, bucket, workspace)
                try tamper(tampering, scheme, bucket, workspace)
                let mount = try Mount(flags + [bucket.name], in: workspace)
                try mount.startInForeground()
                let words = ["if=\(mount.file)", "of=\(workspace.file("read"))", "bs=64k", "skip=2", "count=1", "iflag=direct"]
                let result = try Command.attempt("dd", words, seconds: 40)
                #expect(result.status == 1, "\(result)")
                #expect(result.errorOutput.contains("Input/output error"), "\(result)")
                #expect((try? Data(contentsOf: URL(fileURLWithPath: workspace.file("read"))))?.isEmpty ?? true)
                let lines = mount.log.split(separator: "\n").filter { $0.contains("00000002") }
                #expect(lines.count == 1, "one line: \(mount.log)")
                #expect(lines.first?.contains("ERROR") == true, "\(mount.log)")
                try Command.run("cmp", ["-n", "131072", pattern.path, mount.file])
                // Writing the whole block mends it.
                try Command.run(
                    "dd",
                    ["if=\(pattern.path)", "of=\(mount.file)", "bs=64k", "skip=2", "seek=2", "count=1", "conv=notrunc,fsync"])
                try pattern.compare(with: mount.file)
                try mount.unmount()
            }
        }

        private func tamper(
            _ tampering: Tampering, _ scheme: String, _ bucket: Bucket, _ workspace: Workspace
        ) throws {
            let victim = "00000002"
            var body = try bucket.get(victim)
            let head = try #require(try bucket.head(victim))
            var encoding = try #require(head["content-encoding"])
            var hmac = head["x-amz-meta-s3backer-hmac"]
            switch tampering {
            case .bit: body[body.count / 2] ^= 1
            case .truncation: body.removeLast(16)
            case .block:
                body = try bucket.get("00000003")
                hmac = try bucket.head("00000003")?["x-amz-meta-s3backer-hmac"]
            case .header: hmac = hmac.map { $0.hasPrefix("\"0") ? "\"1" + $0.dropFirst(2) : "\"0" + $0.dropFirst(2) }
            case .encoding: encoding = encoding.contains("deflate") ? "zstd, encrypt-AES-256-CBC" : "deflate, " + encoding
            case .volume:
                // The same block of another volume with the same password: the compatible scheme's salt has the bucket's name.
                let other = try Bucket(in: workspace)
                _ = try makeVolume(scheme, other, workspace)
                body = try other.get(victim)
                hmac = try other.head(victim)?["x-amz-meta-s3backer-hmac"]
            }
            var headers = ["Content-Encoding": encoding, "Content-Type": "application/x-s3backer-block"]
            headers["x-amz-meta-s3backer-hmac"] = hmac
            try bucket.put(body, to: victim, headers: headers)
        }

        @Test(
            "no password and no secret key stands in the log, the statistics, the list of processes or a crash's last words",
            .needs(.root, .fuse, .gateway, .curl), arguments: schemes)
        func noSecretLeaks(scheme: String) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let secretKey = bucket.gateway.secret
                let flags = [
                    "--baseURL=\(bucket.gateway.endpoint)/", "--accessId=\(bucket.gateway.accessID)", "--accessKey=\(secretKey)",
                    scheme, "--password=\(Self.secret)", "--debug", "--debug-http",
                ]
                let mount = try Mount(flags + Self.sizes + [bucket.name], in: workspace)
                try mount.startInForeground()
                let pattern = try Pattern(in: workspace, count: 300_000)
                try pattern.write(to: mount.file)
                try pattern.compare(with: mount.file)
                let pid = try #require(mount.processes.first)
                var texts = [
                    "statistics": try Command.run("cat", [mount.statisticsFile]).output,
                    "processes": try Command.run("ps", ["-ww", "-o", "args=", "-p", "\(pid)"]).output,
                    "mounts": try Command.run("cat", ["/proc/mounts"]).output,
                ]
                #expect(try #require(texts["processes"]).contains("--password=***"))
                try Command.run("prlimit", ["--core=unlimited", "--pid", "\(pid)"])
                let directory = try Command.run("readlink", ["/proc/\(pid)/cwd"]).output.trimmingCharacters(in: .newlines)
                func cores() throws -> Set<String> {
                    // With the time, as a core file replaces one that is there.
                    let names = try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasPrefix("core") }
                    return Set(try names.map { try Command.run("stat", ["-c", "%n %y", "\(directory)/\($0)"]).output })
                }
                let before = try cores()
                mount.signal(SIGSEGV)
                _ = try mount.waitForEnd(seconds: 20)
                #expect(try cores() == before, "a core file holds the keys")
                try Command.run("umount", ["-l", mount.point], seconds: 20)
                texts["log"] = mount.log
                #expect(mount.log.contains("accessKey"), "the log tells the configuration: \(mount.log.prefix(3000))")
                for (name, text) in texts {
                    #expect(!text.contains(Self.secret), "the password stands in \(name)")
                    #expect(!text.contains(secretKey), "the secret key stands in \(name)")
                }
                let keys = try bucket.keys()
                for key in keys {
                    let found = try bucket.get(key).range(of: Data(Self.secret.utf8))
                    #expect(found == nil, "the password stands in object \(key)")
                }
            }
        }

        @Test(
            "a password file that others can read is used with a warning that names the cure",
            .needs(.root, .fuse, .gateway, .curl))
        func readablePasswordFile() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let file = try workspace.write(Self.secret + "\n", to: "open")
                try Command.run("chmod", ["644", file])
                let mount = try Mount(
                    try bucket.flags() + ["--encrypt", "--passwordFile=\(file)"] + Self.sizes + [bucket.name], in: workspace)
                let result = try mount.attempt()
                #expect(result.status == 0, "\(result)")
                #expect(
                    result.errorLines.contains { $0.contains("warning") && $0.contains("chmod") && $0.contains(file) },
                    "\(result)")
                try mount.unmount()
            }
        }

        @Test(
            "a file system on AES-256-GCM with zstd survives a remount, and no object holds a byte of it in the clear",
            .needs(.root, .fuse, .loop, .gateway, .curl))
        func fileSystem() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let password = try workspace.write(Self.secret + "\n", to: "password")
                let flags =
                    try bucket.flags() + ["--encrypt=AES-256-GCM", "--compress=zstd", "--passwordFile=\(password)", bucket.name]
                let tree = try SampleTree(in: workspace, name: "tree", fileCount: 60, seed: 11)
                let marker = String(repeating: "in the clear ", count: 2000)
                let inside = try workspace.directory("inside")
                let writer = try Mount(["--size=32m", "--blockSize=64k"] + flags, in: workspace, name: "writer")
                try writer.start()
                var device = try LoopDevice(over: writer.file)
                try FileSystem.ext4.make(on: device.path)
                try FileSystem.ext4.mount(device.path, at: inside)
                try tree.copy(to: inside)
                try Command.run("cp", [try workspace.write(marker, to: "marker"), "\(inside)/marker"])
                try FileSystem.ext4.unmount(inside)
                try device.detach()
                try writer.unmount()

                for key in try bucket.keys().filter({ $0.hasPrefix("0") }) {
                    let encoding = try bucket.head(key)?["content-encoding"]
                    #expect(encoding == "zstd, encrypt-AES-256-GCM", "\(key)")
                    #expect(try bucket.get(key).range(of: Data("in the clear".utf8)) == nil, "\(key)")
                }
                let reader = try Mount(flags, in: workspace, name: "reader")
                try reader.start()
                device = try LoopDevice(over: reader.file)
                try FileSystem.ext4.check(device.path)
                try FileSystem.ext4.mount(device.path, at: inside)
                try tree.compare(with: inside)
                #expect(try String(contentsOfFile: "\(inside)/marker", encoding: .utf8) == marker)
                try FileSystem.ext4.unmount(inside)
                try device.detach()
                try reader.unmount()
            }
        }

        @Test(
            "a changed password opens the same data, also of a volume that is mounted, and the old one does not any more",
            .needs(.root, .fuse, .gateway, .curl))
        func changedPassword() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let (flags, pattern) = try makeVolume("--encrypt=AES-256-GCM", bucket, workspace)
                let bodies = try bucket.keys().filter { $0.hasPrefix("0") }.map { try bucket.get($0) }
                let new = try workspace.write("the new one\n", to: "new-password")
                let access = try bucket.flags()
                let newFlags = access + ["--encrypt=AES-256-GCM", "--passwordFile=\(new)"]

                let mount = try Mount(flags + [bucket.name], in: workspace)
                try mount.start()
                let change = flags + ["--changePassword", "--newPasswordFile=\(new)", bucket.name]
                try Command.run(Mount.binary, change, environment: ["HOME": workspace.path])
                try pattern.write(to: mount.file, at: 300_000)
                try mount.unmount()

                try Mount(flags + [bucket.name], in: workspace, name: "old").attempt().expectFailure(mentioning: "password")
                let after = try Mount(newFlags + [bucket.name], in: workspace, name: "new")
                try after.start()
                try pattern.compare(with: after.file)
                try pattern.compare(with: after.file, at: 300_000)
                try after.unmount()
                #expect(
                    try bucket.keys().filter { $0.hasPrefix("0") }.prefix(4).map { try bucket.get($0) } == Array(bodies.prefix(4))
                )
            }
        }

        @Test(
            "the C program refuses to read a volume of AES-256-GCM, and does it no harm",
            .needs(.root, .fuse, .gateway, .curl, .debianS3Backer))
        func oldProgramRefuses() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let (flags, pattern) = try makeVolume("--encrypt=AES-256-GCM", bucket, workspace)
                let password = workspace.file("password")
                for encryption in [[], ["--encrypt=AES-256-CBC", "--passwordFile=\(password)"]] {
                    let old = try Mount(
                        try bucket.flags() + ["--authVersion=aws4", "--readOnly"] + encryption + [bucket.name], in: workspace,
                        name: "old\(encryption.count)", program: Mount.debianBinary)
                    try old.start()
                    let read = try Command.attempt("dd", ["if=\(old.file)", "of=/dev/null", "bs=64k", "count=1"], seconds: 60)
                    #expect(read.status == 1, "\(read)")
                    try old.unmount()
                }
                try expectPattern(pattern, flags, bucket, workspace)
            }
        }
    }
}
