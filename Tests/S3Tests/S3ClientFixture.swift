// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import ObjectStores
import StoreTesting
import Testing

@testable import S3

/// A client for bucket `b` over a fake transport.
struct S3ClientFixture {
    let transport: FakeTransport
    let client: S3Client

    init(
        isSigned: Bool = true, addressing: Endpoint.Addressing = .path, _ change: (inout S3Settings) -> Void = { _ in },
        _ answer: @escaping @Sendable (HTTPRequest) throws(HTTPTransportError) -> HTTPResponse
    ) throws {
        let endpoint = try Endpoint(
            baseURL: "http://s3.example.com/", bucket: "b", addressing: addressing, region: "us-east-1")
        let credentials = Credentials(accessID: "ID", secretKey: "hush", sessionToken: nil)
        var settings = S3Settings(endpoint: endpoint, credentials: isSigned ? credentials : nil)
        change(&settings)
        transport = FakeTransport(answer)
        client = S3Client(
            settings: settings, transport: transport, pool: BufferPool(retainedBytesMax: 0), timeline: SystemTimeline(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    func get(
        _ key: String, range: Range<Int>? = nil, ifMatch: ETag? = nil, ifNoneMatch: ETag? = nil
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await client.get(ObjectKey(key), range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, .foreground)
    }

    func put(
        _ key: String, _ text: String = "body", _ metadata: ObjectMetadata = ObjectMetadata(),
        _ condition: PutCondition = .none
    ) async throws(ObjectStoreError) -> Mutation {
        try await client.put(
            ObjectKey(key), BufferSlice(Buffer(copying: Array(text.utf8))), metadata, condition, .foreground)
    }

    /// The error that `body` must throw.
    static func error(_ body: () async throws(ObjectStoreError) -> some Any) async throws -> ObjectStoreError {
        do {
            let result = try await body()
            Issue.record("an error was due, not \(result)")
            throw MissingError()
        } catch let error as ObjectStoreError {
            return error
        }
    }

    struct MissingError: Error {}
}

extension ObjectRead {
    /// The object's bytes as text; nil for any other answer.
    var text: String? {
        guard case .object(let object) = self else { return nil }
        return String(decoding: object.body.bytes, as: UTF8.self)
    }

    var object: Object? {
        guard case .object(let object) = self else { return nil }
        return object
    }

    var isAbsent: Bool {
        guard case .absent = self else { return false }
        return true
    }

    var isUnchanged: Bool {
        guard case .unchanged = self else { return false }
        return true
    }
}
