// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import ScriptedServer
import Synchronization

/// A store such as they were before conditional writes: it takes a PUT with `If-None-Match: *` over an object that exists, and it
/// knows only version 1 lists. No signature is checked.
///
/// - Concurrency: for any threads.
final class OldStore: Sendable {
    private struct Stored: Sendable {
        var body: [UInt8]
        var headers: [(String, String)]
    }
    private let objects: SharedObjects
    private let server: ScriptedServer

    /// What the server's threads and the test share.
    private final class SharedObjects: Sendable {
        let byPath = Mutex<[String: Stored]>([:])
    }

    /// Starts it with an empty bucket.
    init() throws {
        let objects = SharedObjects()
        self.objects = objects
        server = try ScriptedServer { request in Self.answer(request, objects) }
    }

    /// What `--baseURL` takes.
    var baseURL: String { server.baseURL }

    /// How many PUTs had a condition, which was ignored.
    var ignoredConditionCount: Int { server.requests.filter { $0.header("if-none-match") == "*" }.count }

    /// The paths of the objects, `/BUCKET/KEY`, in order.
    var paths: [String] { objects.byPath.withLock { $0.keys.sorted() } }

    /// Stops it.
    func stop() { server.stop() }

    private static func answer(_ request: ReceivedRequest, _ objects: SharedObjects) -> ScriptedAnswer {
        let path = request.path
        switch request.method {
        case "PUT":
            let kept = request.headers.filter { $0.name.hasPrefix("x-amz-meta-") || $0.name == "content-type" }
                .map { ($0.name, $0.value) }
            let eTag = ("ETag", "\"\(UUID().uuidString)\"")
            objects.byPath.withLock { $0[path] = Stored(body: request.body, headers: kept + [eTag]) }
            return ScriptedAnswer(200, headers: [eTag], text: "")
        case "DELETE":
            objects.byPath.withLock { _ = $0.removeValue(forKey: path) }
            return ScriptedAnswer(204, text: "")
        case "GET" where path.split(separator: "/").count == 1: return list(request, objects)
        case "GET", "HEAD":
            guard let stored = objects.byPath.withLock({ $0[path] }) else { return noSuchKey }
            return ScriptedAnswer(200, headers: stored.headers, body: stored.body)
        default: return ScriptedAnswer(501, text: "<Error><Code>NotImplemented</Code><Message>not here</Message></Error>")
        }
    }

    private static let noSuchKey = ScriptedAnswer(
        404, headers: [("Content-Type", "application/xml")],
        text: "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>")

    private static func list(_ request: ReceivedRequest, _ objects: SharedObjects) -> ScriptedAnswer {
        guard !request.query.contains("list-type=2") else {
            return ScriptedAnswer(501, text: "<Error><Code>NotImplemented</Code><Message>version 1 only</Message></Error>")
        }
        let keys = objects.byPath.withLock { $0.keys.sorted() }.map {
            $0.split(separator: "/").dropFirst().joined(separator: "/")
        }
        let contents = keys.map { "<Contents><Key>\($0)</Key><Size>1</Size></Contents>" }.joined()
        return ScriptedAnswer(
            200, headers: [("Content-Type", "application/xml")],
            text: "<ListBucketResult><IsTruncated>false</IsTruncated>\(contents)</ListBucketResult>")
    }
}
