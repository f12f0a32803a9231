// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Command lines that cannot be meant: refused before anything is asked of the server.
    @Suite struct UsageErrorTests {
        /// A command line and the words its message must have.
        struct Case: Sendable, CustomTestStringConvertible {
            let arguments: [String]
            let words: [String]
            var testDescription: String { arguments.joined(separator: " ") }

            init(_ arguments: [String], _ words: String...) {
                self.arguments = arguments
                self.words = words
            }
        }

        static let cases = [
            Case(["--size=1mb", "bucket"], "size", "1mb"), Case(["--size=0", "bucket"], "size", "0"),
            Case(["--size=-1", "bucket"], "size", "-1"), Case(["--size=", "bucket"], "size"),
            Case(["--size=1k2", "bucket"], "size", "1k2"), Case(["--size=1z", "bucket"], "size", "1z"),
            Case(["--size=99999999999999999999", "bucket"], "size"),
            Case(["--size=10k", "--blockSize=4k", "bucket"], "10k", "4k"),
            Case(["--size=16t", "--blockSize=4k", "bucket"], "blocks"),
            Case(["--size=8m", "--blockSize=3k", "bucket"], "block size", "3k"),
            Case(["--size=8m", "--blockSize=banana", "bucket"], "banana"),
            Case(["--size=8m", "--blockSize=8g", "bucket"], "block"),
            Case(["--size=8m", "--bogus", "bucket"], "--bogus"), Case(["--size=8m", "--bogus=3", "bucket"], "--bogus"),
            Case(["--size=8m", "--SIZE=8m", "bucket"], "--SIZE"),
            Case(["--size=8m", "-o", "size=7m,nonsenseOption=1", "bucket"], "nonsenseOption"),
            Case(["--size=8m", "--compress=gzip", "bucket"], "--compress", "gzip"),
            Case(["--size=8m", "--compress-level=5", "bucket"], "--compress-level"),
            Case(["--size=8m", "--encrypt=rot13", "bucket"], "--encrypt", "rot13"),
            Case(["--size=8m", "--encrypt", "--keyLength=5", "bucket"], "--keyLength", "5"),
            Case(["--size=8m", "--encrypt", "--passwordFile=/nonexistent/p", "bucket"], "/nonexistent/p"),
            Case(["--size=8m", "--md5CacheTime=5", "bucket"], "--md5CacheTime"),
            Case(["--size=8m", "--erase", "bucket"], "--erase"),
            Case(["--size=8m", "--blockCacheThreads=0", "bucket"], "--blockCacheThreads=0"),
            Case(["--size=8m", "--flush=local", "bucket"], "--flush=local", "--blockCacheFile"),
            Case(["--size=8m", "--flush=sometimes", "bucket"], "--flush", "sometimes"),
            Case(["--size=8m", "--recoverDirty=apply", "bucket"], "--recoverDirty=apply", "--blockCacheFile"),
            Case(["--size=8m", "--blockCacheFile=/nonexistent/c", "bucket"], "/nonexistent/c"),
            Case(["--size=8m", "--blockCacheSync", "--blockCacheWriteDelay=9", "bucket"], "--blockCacheSync"),
            Case(["--size=8m", "--timeout=soon", "bucket"], "--timeout", "soon"),
            Case(["--size=8m", "--initialRetryPause=500", "--maxRetryPause=100", "bucket"], "RetryPause"),
            Case(["--size=8m", "--authVersion=aws5", "bucket"], "aws5"),
            Case(["--size=8m", "--accessType=everybody", "bucket"], "everybody"),
            Case(["--size=8m", "--storageClass=WARM", "bucket"], "WARM"),
            Case(["--size=8m", "--baseURL=ftp://127.0.0.1/", "bucket"], "base URL", "ftp:"),
            Case(["--size=8m", "--baseURL=http://127.0.0.1", "bucket"], "base URL"),
            Case(["--size=8m", "--filename=a/b", "bucket"], "a/b"), Case(["--size=8m", "--filename=", "bucket"], "filename"),
            Case(["--size=8m", "--fileMode=999", "bucket"], "999"),
            Case(["--size=8m", "--prefix=a", "bucket/b"], "prefix", "bucket/b"), Case(["--size=8m", "/bucket"], "/bucket"),
            Case(["--size=8m", "bucket/"], "bucket/"), Case(["--size=8m", "bucket/a//b"], "bucket/a//b"),
            Case(["--size=8m", "--accessKey=x", "bucket"], "accessId"),
            Case(["--size=8m", "--accessId=x", "bucket"], "accessKey"),
            Case(["--size=8m", "--accessId=x", "--accessKey=y", "--accessKeyEnv=HOME", "bucket"], "accessKeyEnv"),
            Case(["--size=8m", "--accessId=x", "--accessKeyEnv=NO_SUCH_VARIABLE", "bucket"], "NO_SUCH_VARIABLE"),
            Case(["--size=8m", "-F", "/nonexistent/config", "bucket"], "/nonexistent/config"),
            Case(["--test", "--size=8m", "/nonexistent/store"], "/nonexistent/store"),
        ]

        @Test("a command line that cannot be meant is refused in one line", .needs(.root), arguments: cases)
        func refusal(_ wrong: Case) throws {
            try withWorkspace { workspace in
                // It would take whatever is sent; nothing must be.
                let proxy = try TCPProxy(to: 9)
                defer { proxy.close() }
                var arguments = wrong.arguments
                if !arguments.contains(where: { $0.hasPrefix("--baseURL") || $0 == "--test" }) {
                    arguments.insert("--baseURL=http://127.0.0.1:\(proxy.port)/", at: 0)
                }
                let result = try Mount(arguments, in: workspace).attempt(seconds: 20)
                result.expectFailure(mentioning: wrong.words)
                #expect(result.seconds < 5)
                #expect(proxy.connectionCount == 0, "the server was asked")
            }
        }

        @Test("a missing bucket, a missing mount point and a bad mount point are refused in one line each", .needs(.root))
        func positionals() throws {
            try withWorkspace { workspace in
                let home = ["HOME": workspace.path]
                let file = try workspace.write("", to: "plain-file")
                let base = ["--baseURL=http://127.0.0.1:9/", "--accessId=", "--size=8m"]
                try Command.attempt(Mount.binary, base, environment: home).expectFailure(mentioning: "bucket")
                try Command.attempt(Mount.binary, base + ["bucket"], environment: home).expectFailure(mentioning: "mount point")
                for point in ["/nonexistent/mount/point", file] {
                    let result = try Command.attempt(Mount.binary, base + ["bucket", point], seconds: 20, environment: home)
                    result.expectFailure(mentioning: point)
                }
            }
        }

        @Test("--help and --version succeed, on standard error", .needs(.root), arguments: ["--help", "-h", "--version", "-v"])
        func help(flag: String) throws {
            let result = try Command.attempt(Mount.binary, [flag])
            #expect(result.status == 0)
            #expect(result.errorOutput.contains("s3backer"))
            #expect(result.output.isEmpty)
        }
    }
}
