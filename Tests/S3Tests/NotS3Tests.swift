// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import ObjectStores
import Synchronization
import Testing

@testable import S3

@Suite("Servers that are not S3")
struct NotS3Tests {
    private static let page = "<html><body>It works!</body></html>"

    private func retrying(_ fixture: S3ClientFixture) -> RetryingObjectStore {
        RetryingObjectStore(
            over: fixture.client, policy: RetryPolicy(initialPause: .zero, totalPauseMax: .milliseconds(1)), isSigned: true,
            timeline: SystemTimeline(), jitter: { 0 },
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    @Test(
        "a whole answer of another server ends the start at once, and says to check --baseURL",
        arguments: [
            (404, ["content-type": "text/html"], page), (404, [:], ""),
            (404, ["content-type": "text/plain"], "404 page not found"),
            (200, ["content-type": "text/html"], page), (405, ["content-type": "text/html"], page),
        ] as [(Int, [String: String], String)])
    func failsAtOnce(status: Int, headers: [String: String], text: String) async throws {
        let fixture = try S3ClientFixture { request in
            HTTPResponse(status, headers, text: request.method == .head ? "" : text)
        }
        let store = retrying(fixture)
        let looked = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await store.get(ObjectKey("k"), range: 0..<1, ifMatch: nil, ifNoneMatch: nil, .foreground)
        }
        #expect(looked.message.contains("check --baseURL"))
        #expect(fixture.transport.requests.count == 1)
        let listed = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await store.list(prefix: "", after: nil, limit: 10, .foreground)
        }
        #expect(listed.message.contains("check --baseURL"))
        #expect(fixture.transport.requests.count == 2)
    }

    @Test(
        "an answer that is cut off is tried again, at the start too",
        arguments: [
            (404, [:], "<Error><Code>NoSuchKey</Code>"), (200, ["content-length": "5"], "body"),
        ] as [(Int, [String: String], String)])
    func truncated(status: Int, headers: [String: String], text: String) async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(status, headers, text: text) }
        let store = retrying(fixture)
        _ = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await store.get(ObjectKey("k"), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        }
        #expect(fixture.transport.requests.count > 1)
    }

    @Test("after a success, a page of a proxy in between is tried again")
    func laterPage() async throws {
        let count = Mutex(0)
        let fixture = try S3ClientFixture { _ in
            count.withLock { count in
                count += 1
                return count == 2
                    ? HTTPResponse(404, ["content-type": "text/html"], text: Self.page) : HTTPResponse(200, text: "x")
            }
        }
        let store = retrying(fixture)
        for _ in 0..<2 {
            let read = try await store.get(ObjectKey("k"), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
            #expect(read.text == "x")
        }
        #expect(fixture.transport.requests.count == 3)
    }
}
