// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// Servers that are not there, hang, or answer something else than S3 does.
    @Suite struct BadServerTests {
        /// Four attempts, with pauses of 100, 200 and 200 ms.
        private static let patience = ["--timeout=2", "--initialRetryPause=100", "--maxRetryPause=500"]

        private static func answer(_ status: String, type: String, _ body: String) -> String {
            "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)"
        }

        private static func html(_ status: String) -> String {
            answer(status, type: "text/html", "<html><body><h1>Welcome to our hotel</h1>Please log in.</body></html>")
        }

        private static func error(_ status: String, _ code: String, _ message: String, more: String = "") -> String {
            answer(
                status, type: "application/xml",
                "<?xml version=\"1.0\"?><Error><Code>\(code)</Code><Message>\(message)</Message>\(more)</Error>")
        }

        /// An answer that must end a start, with the words of the message.
        struct BadStart: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let answer: String
            let words: [String]
        }

        static let badStarts = [
            BadStart(testDescription: "a page of a hotel with status 200", answer: html("200 OK"), words: []),
            BadStart(testDescription: "a page of a web server with status 404", answer: html("404 Not Found"), words: ["404"]),
            BadStart(testDescription: "a page of a proxy with status 503", answer: html("503 Unavailable"), words: ["503"]),
            BadStart(
                testDescription: "a skewed clock",
                answer: error(
                    "403 Forbidden", "RequestTimeTooSkewed",
                    "The difference between the request time and the server's time is too large."),
                words: ["clock"]),
            BadStart(
                testDescription: "a redirect to another region",
                answer: error(
                    "301 Moved Permanently", "PermanentRedirect", "Use the specified endpoint.",
                    more: "<Endpoint>bucket.s3.eu-west-1.example</Endpoint><Region>eu-west-1</Region>"),
                words: ["--region"]),
            BadStart(
                testDescription: "a forbidden bucket", answer: error("403 Forbidden", "AccessDenied", "Access Denied"),
                words: ["AccessDenied"]),
            BadStart(
                testDescription: "no such bucket", answer: error("404 Not Found", "NoSuchBucket", "No such bucket"),
                words: ["NoSuchBucket"]),
            BadStart(testDescription: "no HTTP at all", answer: "220 mail.example ESMTP ready\r\n", words: []),
            BadStart(testDescription: "an empty answer", answer: "", words: []),
        ]

        @Test(
            "a start to which something else than S3 answers fails in one line and changes nothing",
            .needs(.root, .fuse, .gateway, .curl), arguments: badStarts)
        func badStart(_ bad: BadStart) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                proxy.set { $0.answers = .replaced(by: bad.answer) }
                for more in [["--size=8m"], ["--size=8m", "--readOnly"], ["--readOnly"]] {
                    let mount = try Mount(
                        try bucket.flags(port: proxy.port) + Self.patience + more + [bucket.name], in: workspace)
                    let result = try mount.attempt(seconds: 40)
                    result.expectFailure(mentioning: bad.words)
                    #expect(!result.timedOut && result.seconds < 10, "\(result)")
                    #expect(!mount.isMounted && mount.processes.isEmpty)
                }
                #expect(try bucket.keys().isEmpty)
            }
        }

        @Test("a refused connection is reported after the retry limit", .needs(.root, .fuse, .gateway, .curl))
        func refused() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                proxy.close()
                let flags = try bucket.flags(port: proxy.port) + Self.patience + ["--size=8m", bucket.name]
                let result = try Mount(flags, in: workspace).attempt()
                result.expectFailure(mentioning: "127.0.0.1", "\(proxy.port)")
                #expect(result.seconds >= 0.4 && result.seconds < 10, "\(result)")
            }
        }

        @Test("a server that never answers is reported after the documented time", .needs(.root, .fuse, .gateway, .curl))
        func hanging() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                proxy.set { $0.isStalled = true }
                let flags = try bucket.flags(port: proxy.port) + Self.patience + ["--size=8m", bucket.name]
                let result = try Mount(flags, in: workspace).attempt(seconds: 60)
                result.expectFailure(mentioning: "2.0 seconds")
                // Four attempts of two seconds each and half a second of pauses.
                #expect(result.seconds < 20, "\(result)")
            }
        }

        @Test("an unknown host is reported", .needs(.root, .fuse))
        func unknownHost() throws {
            try withWorkspace { workspace in
                let flags = ["--baseURL=http://no-such-host.invalid/", "--accessId=a", "--accessKey=b"] + Self.patience
                let result = try Mount(flags + ["--size=8m", "bucket"], in: workspace).attempt()
                result.expectFailure(mentioning: "no-such-host.invalid")
                #expect(result.seconds < 20)
            }
        }

        /// What a mounted disk meets, and the errno an uncached read then ends with.
        struct BadRead: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let answers: TCPProxy.Answers
            let message: String
        }

        static let badReads = [
            BadRead(
                testDescription: "a page with status 404", answers: .replaced(by: html("404 Not Found")),
                message: "Input/output error"),
            BadRead(
                testDescription: "a page with status 200", answers: .replaced(by: html("200 OK")), message: "Input/output error"),
            BadRead(
                testDescription: "503", answers: .replaced(by: error("503 Slow Down", "SlowDown", "Reduce your request rate.")),
                message: "Input/output error"),
            BadRead(
                testDescription: "403", answers: .replaced(by: error("403 Forbidden", "AccessDenied", "Access Denied")),
                message: "Operation not permitted"),
            BadRead(
                testDescription: "no such bucket", answers: .replaced(by: error("404 Not Found", "NoSuchBucket", "Gone")),
                message: "Input/output error"),
            BadRead(testDescription: "a body cut short", answers: .cut(after: 2_000), message: "Input/output error"),
            BadRead(testDescription: "a head cut short", answers: .cut(after: 40), message: "Input/output error"),
        ]

        @Test(
            "a bad answer fails an uncached read with its errno, never gives zeros or other bytes, and does no lasting harm",
            .needs(.root, .fuse, .gateway, .curl), arguments: badReads)
        func badRead(_ bad: BadRead) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let flags = try bucket.flags(port: proxy.port) + Self.patience
                let mount = try Mount(flags + ["--size=1m", "--blockSize=64k", "--blockCacheSize=1", bucket.name], in: workspace)
                try mount.start()
                let pattern = try Pattern(in: workspace, count: 1 << 20)
                try pattern.write(to: mount.file)
                proxy.set { $0.answers = bad.answers }
                let words = ["if=\(mount.file)", "of=\(workspace.file("read"))", "bs=64k", "skip=3", "count=1", "iflag=direct"]
                let result = try Command.attempt("dd", words, seconds: 40)
                #expect(result.status == 1, "\(result)")
                #expect(result.errorOutput.contains(bad.message), "\(result)")
                #expect(result.seconds < 15, "\(result)")
                proxy.set { $0.answers = .untouched }
                try Command.run("dd", words)
                try Command.run("cmp", ["-n", "65536", "-i", "\(65_536 * 3):0", pattern.path, workspace.file("read")])
                try pattern.compare(with: mount.file)
                try mount.unmount()
            }
        }

        @Test(
            "an object of the wrong length fails the read with EIO", .needs(.root, .fuse, .gateway, .curl),
            arguments: [0, 5, 65_535, 65_537, 300_000])
        func wrongLength(count: Int) throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let flags = try bucket.flags() + Self.patience
                let mount = try Mount(flags + ["--size=1m", "--blockSize=64k", "--blockCacheSize=1", bucket.name], in: workspace)
                try mount.start()
                let pattern = try Pattern(in: workspace, count: 65_536)
                try pattern.write(to: mount.file)
                try bucket.put(Data(repeating: 0x33, count: count), to: "00000002")
                let result = try Command.attempt(
                    "dd", ["if=\(mount.file)", "of=/dev/null", "bs=64k", "skip=2", "count=1", "iflag=direct"])
                #expect(result.status == 1, "\(result)")
                #expect(result.errorOutput.contains("Input/output error"), "\(result)")
                #expect(result.seconds < 5, "\(result)")
                try pattern.compare(with: mount.file)
                // Writing the whole block mends it.
                try pattern.write(to: mount.file, at: 65_536 * 2)
                try pattern.compare(with: mount.file, at: 65_536 * 2)
                try mount.unmount()
            }
        }

        @Test(
            "a write that cannot reach the bucket fails after the documented time, and can be repeated later",
            .needs(.root, .fuse, .gateway, .curl))
        func failedWrite() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let proxy = try TCPProxy(to: bucket.gateway.port)
                defer { proxy.close() }
                let flags = try bucket.flags(port: proxy.port) + Self.patience
                let mount = try Mount(flags + ["--size=1m", "--blockSize=64k", "--blockCacheSize=0", bucket.name], in: workspace)
                try mount.start()
                let old = try Pattern(in: workspace, name: "old", count: 200_000, seed: 1)
                let new = try Pattern(in: workspace, name: "new", count: 200_000, seed: 2)
                try old.write(to: mount.file)
                proxy.goDown()
                let result = try new.attemptWrite(to: mount.file)
                #expect(result.status == 1, "\(result)")
                #expect(result.seconds < 15, "\(result)")
                try proxy.comeBack()
                // What the kernel has cached is not asked for here.
                try Command.shell("echo 3 >/proc/sys/vm/drop_caches")
                try Command.shell(
                    "dd if=\"$1\" of=\"$2\" bs=64k iflag=direct status=none; cmp -n 200000 \"$2\" \"$3\"",
                    [mount.file, workspace.file("seen"), old.path])
                try new.write(to: mount.file)
                try new.compare(with: mount.file)
                try mount.unmount()
                let again = try Mount(try bucket.flags() + [bucket.name], in: workspace, name: "again")
                try again.start()
                try new.compare(with: again.file)
                try again.unmount()
            }
        }
    }
}
