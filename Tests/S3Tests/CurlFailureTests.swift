// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import S3
import ScriptedServer
import Testing

@Suite("curl transport: failures, limits and cancellation")
struct CurlFailureTests {
    @Test("a body that ends early is malformed, and so is an answer that is no HTTP")
    func truncated() async throws {
        let fixture = try CurlFixture { request in
            request.target == "/raw"
                ? ScriptedAnswer(200, delivery: .raw(Array("what do you want\r\n\r\n".utf8)))
                : ScriptedAnswer(200, body: [UInt8](repeating: 1, count: 1000), delivery: .truncated(after: 500))
        }
        defer { fixture.stop() }
        for (method, path) in [(HTTPMethod.get, "b/k"), (.put, "b/k"), (.get, "raw")] {
            let error = try await fixture.failure(method, path, body: method == .put ? [1] : nil)
            #expect(error.kind == .malformedAnswer && error.mayHaveBeenSent)
        }
    }

    @Test("a connection that breaks without an answer is lost, and the request may have been sent")
    func closed() async throws {
        let fixture = try CurlFixture { _ in ScriptedAnswer(200, delivery: .closed) }
        defer { fixture.stop() }
        for method in [HTTPMethod.get, .put, .delete] {
            let error = try await fixture.failure(method)
            #expect(error.kind == .connectionLost && error.mayHaveBeenSent)
        }
        #expect(fixture.server.requests.count == 3)
    }

    @Test("when a reused connection dies under a request, only one that changes nothing is repeated")
    func staleConnection() async throws {
        for (method, count) in [(HTTPMethod.get, 2), (.head, 2), (.put, 1), (.delete, 1), (.post, 1)] {
            let fixture = try CurlFixture { request in
                ScriptedAnswer(200, delivery: request.connection == 0 && request.target == "/second" ? .closed : .whole)
            }
            defer { fixture.stop() }
            _ = try await fixture.send(.get, "first")
            if method.isMutation {
                let error = try await fixture.failure(method, "second", body: method == .delete ? nil : [1, 2, 3])
                #expect(error.kind == .connectionLost && error.mayHaveBeenSent)
            } else {
                #expect(try await fixture.send(method, "second").status == 200)
            }
            #expect(fixture.server.requests.filter { $0.target == "/second" }.count == count)
        }
    }

    @Test("a refused connection and an unknown host are told apart, and nothing was sent")
    func connect() async throws {
        let fixture = try CurlFixture { _ in ScriptedAnswer(200) }
        fixture.server.stop()
        defer { fixture.stop() }
        // Its listener is closed only with the server; a port that nobody listens on is needed.
        for (url, kind) in [
            ("http://127.0.0.1:1/", HTTPTransportError.Kind.connectFailed), ("http://a..b/", .hostUnknown),
        ] {
            let request = HTTPRequest(method: .put, url: url, headers: [], body: nil, answerSizeMax: 1)
            do {
                _ = try await fixture.transport.send(request)
                Issue.record("an error was due")
            } catch {
                #expect(error.kind == kind && !error.mayHaveBeenSent, "\(error)")
            }
        }
    }

    @Test("a host that does not take the connection ends at the connect limit, and nothing was sent")
    func connectLimit() async throws {
        let listener = try FullListener()
        defer { listener.close() }
        let transport = try CurlFixture.transport { $0.connectTimeout = .milliseconds(200) }
        defer { transport.shutdown() }
        let url = "http://127.0.0.1:\(listener.port)/b/k"
        let request = HTTPRequest(method: .put, url: url, headers: [], body: nil, answerSizeMax: 1)
        do {
            _ = try await transport.send(request)
            Issue.record("an error was due")
        } catch {
            #expect(error.kind == .timedOut && !error.mayHaveBeenSent, "\(error)")
        }
    }

    @Test("a server that never answers ends at the stall limit")
    func hung() async throws {
        let fixture = try CurlFixture({ $0.stallTimeout = .milliseconds(100) }) { _ in ScriptedAnswer(200, delivery: .hung) }
        defer { fixture.stop() }
        let error = try await fixture.failure(.put, body: [1])
        #expect(error.kind == .timedOut && error.mayHaveBeenSent)
        #expect(error.description.hasPrefix("no byte moved for 0."))
    }

    @Test("an answer that trickles is not cut by the total limit")
    func trickled() async throws {
        let fixture = try CurlFixture({
            $0.timeout = .milliseconds(1200)
            $0.stallTimeout = .milliseconds(1200)
        }) { _ in ScriptedAnswer(200, body: [UInt8](repeating: 7, count: 20_000), delivery: .trickled(bytesPerSecond: 10_000)) }
        defer { fixture.stop() }
        #expect(try await fixture.send(.get).body.count == 20_000)
    }

    @Test("an upload that the server takes slowly is not cut by the total limit")
    func slowUpload() async throws {
        let fixture = try CurlFixture(
            receiveRate: 300_000,
            {
                $0.timeout = .milliseconds(1200)
                $0.stallTimeout = .milliseconds(1200)
            }
        ) { _ in ScriptedAnswer(200) }
        defer { fixture.stop() }
        // Small enough for the kernel to take it from curl at once: only the socket's queue shows that it moves.
        let body = [UInt8](repeating: 7, count: 600_000)
        #expect(try await fixture.send(.put, body: body).status == 200)
        #expect(fixture.server.requests.first?.body == body)
    }

    @Test("cancelling a task ends its transfer at once, and the connection with it")
    func cancel() async throws {
        let arrived = AsyncStream.makeStream(of: Void.self)
        let fixture = try CurlFixture { _ in
            arrived.continuation.yield()
            return ScriptedAnswer(200, delivery: .hung)
        }
        defer { fixture.stop() }
        let task = Task { try await fixture.failure(.put, body: [1]) }
        for await _ in arrived.stream { break }
        task.cancel()
        let error = try await task.value
        #expect(error.kind == .cancelled && error.mayHaveBeenSent)
    }

    @Test("a task that was cancelled before sends nothing")
    func cancelledBefore() async throws {
        let fixture = try CurlFixture { _ in ScriptedAnswer(200) }
        defer { fixture.stop() }
        let error = try await Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await fixture.failure(.put, body: [1])
        }.value
        #expect(error.kind == .cancelled && !error.mayHaveBeenSent)
        #expect(fixture.server.requests.isEmpty)
    }

    @Test("a shutdown fails what is in flight and what comes after, and may be repeated")
    func shutdown() async throws {
        let arrived = AsyncStream.makeStream(of: Void.self)
        let fixture = try CurlFixture { _ in
            arrived.continuation.yield()
            return ScriptedAnswer(200, delivery: .hung)
        }
        defer { fixture.stop() }
        let task = Task { try await fixture.failure(.get) }
        for await _ in arrived.stream { break }
        fixture.transport.shutdown()
        #expect(try await task.value.kind == .cancelled)
        #expect(try await fixture.failure(.get).kind == .cancelled)
        fixture.transport.shutdown()
    }

    @Test("under cancellations at random moments every request ends once, and others get their own answers")
    func randomCancellations() async throws {
        let fixture = try CurlFixture { request in
            ScriptedAnswer(200, body: Array(request.target.utf8), delay: .milliseconds(Int(request.body.count % 3)))
        }
        defer { fixture.stop() }
        let seed: UInt64 = 0x5eed_0002
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        var answered = 0
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<400 {
                let yields = random.below(30)
                let isCancelled = random.below(2) == 0
                group.addTask { await Self.send(number, over: fixture, cancelAfter: isCancelled ? yields : nil) }
            }
            for await isAnswered in group where isAnswered { answered += 1 }
        }
        #expect(answered >= 100)
    }

    /// Sends a request with that many bytes, and cancels it after so many turns of the scheduler.
    ///
    /// - Returns: Whether it was answered.
    private static func send(_ number: Int, over fixture: CurlFixture, cancelAfter yields: Int?) async -> Bool {
        let request = Task {
            try await fixture.send(.put, "\(number)", body: [UInt8](repeating: 1, count: number))
        }
        if let yields {
            for _ in 0..<yields { await Task.yield() }
            request.cancel()
        }
        do {
            let response = try await request.value
            #expect(BufferSlice(response.body).bytes == Array("/\(number)".utf8))
            return true
        } catch {
            let failure = error as? HTTPTransportError
            #expect(yields != nil && failure?.kind == .cancelled)
            return false
        }
    }
}
