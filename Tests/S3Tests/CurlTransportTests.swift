// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import S3
import ScriptedServer
import Testing

@Suite("curl transport")
struct CurlTransportTests {
    private static let block = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }

    @Test("a request arrives as it was described, and the answer's bytes are the server's")
    func exchange() async throws {
        let fixture = try CurlFixture { request in
            ScriptedAnswer(200, headers: [("X-Some", "  a b "), ("ETag", "\"e\"")], body: request.body.reversed())
        }
        defer { fixture.stop() }
        for method in [HTTPMethod.put, .post] {
            let response = try await fixture.send(
                method, "b/a%20b/../c?x=1", headers: [HTTPField("x-amz-acl", "private"), HTTPField("x-empty", "")],
                body: Self.block)
            #expect(response.status == 200)
            #expect(BufferSlice(response.body).bytes == Self.block.reversed())
            #expect(response.header("x-some") == "a b" && response.header("etag") == "\"e\"")
            let request = try #require(fixture.server.requests.last)
            #expect(request.method == method.rawValue && request.target == "/b/a%20b/../c?x=1")
            #expect(request.body == Self.block)
            #expect(request.header("x-amz-acl") == "private" && request.header("x-empty") == "")
            #expect(request.header("host") == "127.0.0.1:\(fixture.server.port)")
            #expect(request.header("user-agent") == "s3backer/test")
            #expect(request.header("expect") == nil && request.header("content-type") == nil)
        }
    }

    @Test("get, head and delete have no body; an empty put says so")
    func emptyBodies() async throws {
        let fixture = try CurlFixture { _ in ScriptedAnswer(200, body: [1, 2, 3]) }
        defer { fixture.stop() }
        for (method, count) in [(HTTPMethod.get, 3), (.head, 0), (.delete, 3), (.put, 3), (.post, 3)] {
            let response = try await fixture.send(method)
            #expect(response.body.count == count && response.header("content-length") == "3")
            let request = try #require(fixture.server.requests.last)
            #expect(request.method == method.rawValue && request.body.isEmpty)
            #expect(request.header("content-length") == (method == .put || method == .post ? "0" : nil))
        }
        _ = try await fixture.send(.put, body: [])
        #expect(fixture.server.requests.last?.header("content-length") == "0")
    }

    @Test("a body is never decoded on the way, whatever encoding it has", arguments: ["deflate", "gzip", "zstd", "br"])
    func contentEncoding(name: String) async throws {
        // No stream of any of these: to decode it would fail.
        let fixture = try CurlFixture { _ in
            ScriptedAnswer(200, headers: [("Content-Encoding", name)], body: Array("plain bytes".utf8))
        }
        defer { fixture.stop() }
        let response = try await fixture.send(.get, headers: [HTTPField("accept-encoding", "deflate, zstd")])
        #expect(BufferSlice(response.body).bytes == Array("plain bytes".utf8))
        #expect(response.header("content-encoding") == name)
        #expect(fixture.server.requests.last?.header("accept-encoding") == "deflate, zstd")
    }

    @Test("connections are reused, and handles too")
    func reuse() async throws {
        let fixture = try CurlFixture { _ in ScriptedAnswer(200, body: [1]) }
        defer { fixture.stop() }
        for method in [HTTPMethod.get, .put, .delete, .head, .get] { _ = try await fixture.send(method) }
        #expect(fixture.server.connectionCount == 1)
        #expect(fixture.transport.statistics == HTTPTransportStatistics(handlesCreated: 1, handlesReused: 4))
        fixture.transport.resetStatistics()
        #expect(fixture.transport.statistics == HTTPTransportStatistics(handlesCreated: 0, handlesReused: 0))
    }

    @Test("without reuse each request has its own connection")
    func noReuse() async throws {
        let fixture = try CurlFixture({ $0.reusesConnections = false }) { _ in ScriptedAnswer(200) }
        defer { fixture.stop() }
        for _ in 0..<3 { _ = try await fixture.send(.get) }
        #expect(fixture.server.connectionCount == 3)
    }

    @Test("many requests run at once, each with its own answer")
    func concurrent() async throws {
        let fixture = try CurlFixture { request in ScriptedAnswer(200, body: Array(request.target.utf8) + request.body) }
        defer { fixture.stop() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<32 {
                group.addTask {
                    for round in 0..<10 {
                        let body = [UInt8](repeating: UInt8(task), count: 1 + task * 1000)
                        let response = try await fixture.send(.put, "\(task)/\(round)", body: body)
                        #expect(BufferSlice(response.body).bytes == Array("/\(task)/\(round)".utf8) + body)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(fixture.server.connectionCount <= 32)
    }

    @Test("redirects are not followed, and an error's body is read")
    func redirect() async throws {
        let fixture = try CurlFixture { request in
            ScriptedAnswer(307, headers: [("Location", "/elsewhere")], body: Array("words".utf8))
        }
        defer { fixture.stop() }
        let response = try await fixture.send(.put, body: [1])
        #expect(response.status == 307 && BufferSlice(response.body).bytes == Array("words".utf8))
        #expect(fixture.server.requests.count == 1)
    }

    @Test("a body without an announced length, and one after an interim answer, are received whole")
    func lengths() async throws {
        let fixture = try CurlFixture { request in
            var answer = Array("HTTP/1.1 100 Continue\r\nX-Old: 1\r\n\r\nHTTP/1.1 200 OK\r\n".utf8)
            answer += Array("Transfer-Encoding: chunked\r\n\r\n".utf8)
            for start in stride(from: 0, to: Self.block.count, by: 30_000) {
                answer += Array("7530\r\n".utf8) + Self.block[start..<start + 30_000] + Array("\r\n".utf8)
            }
            return ScriptedAnswer(200, delivery: .raw(answer + Array("0\r\n\r\n".utf8)))
        }
        defer { fixture.stop() }
        let response = try await fixture.send(.get)
        #expect(BufferSlice(response.body).bytes == Self.block && response.header("x-old") == nil)
    }

    @Test("an answer larger than allowed is malformed; a large error body is cut off")
    func tooLarge() async throws {
        let fixture = try CurlFixture { request in ScriptedAnswer(request.target == "/e" ? 500 : 200, body: Self.block) }
        defer { fixture.stop() }
        #expect(try await fixture.send(.get, sizeMax: Self.block.count).body.count == Self.block.count)
        #expect(try await fixture.failure(.get, sizeMax: Self.block.count - 1).kind == .malformedAnswer)
        #expect(try await fixture.send(.get, "e").body.count == 65536)
    }

    @Test("the log of the traffic shows no secret")
    func dump() async throws {
        let log = KeptLog()
        let fixture = try CurlFixture(logger: log.logger, { $0.isDumped = true }) { _ in ScriptedAnswer(200) }
        defer { fixture.stop() }
        let headers = [
            HTTPField("authorization", "AWS4-HMAC-SHA256 hush"), HTTPField("x-amz-security-token", "hush"),
            HTTPField("x-y", "seen"),
        ]
        _ = try await fixture.send(.get, headers: headers)
        #expect(log.lines.contains { $0.contains("> x-y: seen") } && log.lines.contains { $0.contains("< HTTP/1.1 200") })
        #expect(log.lines.contains { $0.contains("> authorization: (not shown)") })
        #expect(!log.lines.contains { $0.contains("hush") })
    }

    @Test("a speed limit slows a transfer down")
    func speed() async throws {
        let fixture = try CurlFixture({ $0.downloadBitsPerSecondMax = 8 * 200_000 }) { _ in ScriptedAnswer(200, body: Self.block)
        }
        defer { fixture.stop() }
        let start = SystemTimeline().now
        #expect(try await fixture.send(.get).body.count == Self.block.count)
        #expect(SystemTimeline().now - start > .milliseconds(200))
    }

    @Test("a type of service does not get in the way")
    func typeOfService() async throws {
        let fixture = try CurlFixture({
            $0.typeOfService = 0x10
            $0.isHTTP11Only = true
        }) { _ in ScriptedAnswer(200) }
        defer { fixture.stop() }
        #expect(try await fixture.send(.get).status == 200)
    }
}
