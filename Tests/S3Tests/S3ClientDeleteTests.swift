// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import ObjectStores
import ScriptedServer
import StoreTesting
import Synchronization
import Testing

@testable import S3

@Suite("S3 client: stores without batch delete")
struct S3ClientDeleteTests {
    private static let keys = (0..<20).map { ObjectKey("k\($0)") }

    @Test(
        "a store that has no batch delete gets one DELETE per key, and is not asked for a batch again",
        arguments: [(501, "NotImplemented"), (405, "MethodNotAllowed"), (400, "NotImplemented"), (400, "InvalidArgument")])
    func fallback(status: Int, code: String) async throws {
        let fixture = try S3ClientFixture { request in
            request.method == .post ? .error(status, code) : HTTPResponse(204)
        }
        let mutation = try await fixture.client.delete(Self.keys, .background)
        #expect(mutation == Mutation(eTag: nil, isSettled: true))
        #expect(fixture.transport.requests.map(\.method).filter { $0 == .post }.count == 1)
        let urls = Set(fixture.transport.requests.filter { $0.method == .delete }.map(\.url))
        #expect(urls == Set(Self.keys.map { "http://s3.example.com/b/\($0)" }))
        let count = fixture.transport.requests.count
        _ = try await fixture.client.delete(Array(Self.keys.prefix(5)), .background)
        #expect(fixture.transport.requests.dropFirst(count).map(\.method) == [.delete, .delete, .delete, .delete, .delete])
    }

    @Test("a batch that is refused for a cause that single requests share keeps its own error, and batches go on")
    func otherCause() async throws {
        let isRefusing = Mutex(true)
        let fixture = try S3ClientFixture { request in
            if isRefusing.withLock({ $0 }) {
                return .error(400, request.method == .post ? "AuthorizationHeaderMalformed" : "Single")
            }
            return request.method == .post ? HTTPResponse(200, text: "<DeleteResult/>") : HTTPResponse(204)
        }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.client.delete(Self.keys, .background)
        }
        #expect(error.code == .badRequest && error.message.contains("AuthorizationHeaderMalformed"))
        #expect(!error.outcomeIsUnknown)
        isRefusing.withLock { $0 = false }
        _ = try await fixture.client.delete(Self.keys, .background)
        #expect(fixture.transport.requests.last?.method == .post)
    }

    @Test("when a single delete fails after others were done, the outcome is unknown")
    func partly() async throws {
        let fixture = try S3ClientFixture { request in
            if request.method == .post { return .error(501, "NotImplemented") }
            return request.url.hasSuffix("k13") ? .error(403, "AccessDenied") : HTTPResponse(204)
        }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.client.delete(Self.keys, .background)
        }
        #expect(error.code == .forbidden && error.outcomeIsUnknown && error.message.contains("k13"))
    }

    @Test("single deletes go several at once, and not more than the limit", .timeLimit(.minutes(1)))
    func parallel() async throws {
        let transport = GatheringTransport(8)
        let endpoint = try Endpoint(
            baseURL: "http://s3.example.com/", bucket: "b", addressing: .path, region: "us-east-1")
        let client = S3Client(
            settings: S3Settings(endpoint: endpoint, credentials: nil), transport: transport,
            pool: BufferPool(retainedBytesMax: 0), timeline: SystemTimeline(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        // The first DELETE goes alone: it shows whether single ones are accepted.
        _ = try await client.delete(Self.keys.prefix(17).map { $0 }, .background)
        #expect(transport.highest == 8)
    }

    @Test("the fallback works through a real connection")
    func overHTTP() async throws {
        let methods = Mutex<[String]>([])
        let fixture = try CurlFixture { request in
            methods.withLock { $0.append(request.method) }
            return request.method == "POST" ? ScriptedAnswer(501, text: "") : ScriptedAnswer(204, text: "")
        }
        defer { fixture.stop() }
        let endpoint = try Endpoint(baseURL: fixture.server.baseURL, bucket: "b", addressing: .path, region: "us-east-1")
        let client = S3Client(
            settings: S3Settings(endpoint: endpoint, credentials: nil), transport: fixture.transport,
            pool: BufferPool(retainedBytesMax: 0), timeline: SystemTimeline(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        for _ in 0..<2 { _ = try await client.delete(Self.keys, .background) }
        #expect(methods.withLock { $0 }.filter { $0 == "POST" }.count == 1)
        #expect(methods.withLock { $0 }.filter { $0 == "DELETE" }.count == 40)
    }
}

/// Refuses batches, and answers DELETEs after the first only when as many of them have come as are wanted at once.
private final class GatheringTransport: HTTPTransport {
    private struct State {
        var seen = 0
        var inFlight = 0
        var highest = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())
    private let wanted: Int

    init(_ wanted: Int) { self.wanted = wanted }

    var highest: Int { state.withLock { $0.highest } }

    func send(_ request: HTTPRequest) async throws(HTTPTransportError) -> HTTPResponse {
        guard request.method == .delete else { return .error(501, "NotImplemented") }
        let isFirst = state.withLock { state in
            state.seen += 1
            state.inFlight += 1
            state.highest = max(state.highest, state.inFlight)
            return state.seen == 1
        }
        if !isFirst {
            await withCheckedContinuation { continuation in
                let released: [CheckedContinuation<Void, Never>] = state.withLock { state in
                    state.waiting.append(continuation)
                    guard state.waiting.count == wanted else { return [] }
                    defer { state.waiting = [] }
                    return state.waiting
                }
                for waiter in released { waiter.resume() }
            }
        }
        state.withLock { $0.inFlight -= 1 }
        return HTTPResponse(204)
    }

    var statistics: HTTPTransportStatistics { HTTPTransportStatistics(handlesCreated: 0, handlesReused: 0) }
    func resetStatistics() {}
}
