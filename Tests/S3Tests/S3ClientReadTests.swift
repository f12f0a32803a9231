// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import Testing

@testable import S3

@Suite("S3 client: get and head")
struct S3ClientReadTests {
    @Test("a get returns bytes, ETag and metadata")
    func get() async throws {
        let fixture = try S3ClientFixture { _ in
            HTTPResponse(
                200,
                [
                    "etag": "\"abc\"", "content-type": "t/x", "content-encoding": "deflate", "content-length": "4",
                    "x-amz-meta-s3backer-blocksize": "4096",
                ], text: "body")
        }
        let object = try #require(try await fixture.get("k").object)
        #expect(object.body.bytes == Array("body".utf8))
        let metadata = ObjectMetadata(
            contentType: "t/x", contentEncoding: "deflate", user: ["s3backer-blocksize": "4096"])
        #expect(object.attributes == ObjectAttributes(size: 4, eTag: ETag("abc"), metadata: metadata))
        let request = try #require(fixture.transport.requests.first)
        #expect(request.method == .get && request.url == "http://s3.example.com/b/k")
        #expect(request.header("authorization")?.hasPrefix("AWS4-HMAC-SHA256 Credential=ID/") ?? false)
    }

    @Test("conditions go out as If-Match and If-None-Match, and 304 means unchanged")
    func conditions() async throws {
        let fixture = try S3ClientFixture { request in
            request.header("if-none-match") == "\"abc\"" ? HTTPResponse(304) : .error(412, "PreconditionFailed")
        }
        #expect(try await fixture.get("k", ifNoneMatch: ETag("abc")).isUnchanged)
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.get("k", ifMatch: ETag("W/x"))
        }
        #expect(error.code == .preconditionFailed && !error.outcomeIsUnknown)
        #expect(fixture.transport.requests.last?.header("if-match") == "W/\"x\"")
    }

    @Test("a get names the encodings that are understood, unsigned, since proxies rewrite that header; nothing else does")
    func acceptEncoding() async throws {
        let fixture = try S3ClientFixture({ $0.acceptEncoding = "deflate, zstd, encrypt-AES-128-CBC" }) { _ in
            HTTPResponse(200, ["etag": "\"e\"", "content-length": "4"], text: "body")
        }
        _ = try await fixture.get("k")
        let get = try #require(fixture.transport.requests.last)
        #expect(get.header("accept-encoding") == "deflate, zstd, encrypt-AES-128-CBC")
        #expect(get.header("authorization")?.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date,") == true)
        _ = try await fixture.put("k")
        #expect(fixture.transport.requests.last?.header("accept-encoding") == nil)
        let silent = try S3ClientFixture { _ in HTTPResponse(200, ["etag": "\"e\""], text: "body") }
        _ = try await silent.get("k")
        #expect(silent.transport.requests.last?.header("accept-encoding") == nil)
    }

    @Test("no answer to a get may be larger than objects can be, once that is known")
    func objectLimit() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200, ["etag": "\"e\"", "content-length": "4"], text: "body") }
        _ = try await fixture.get("k")
        #expect(fixture.transport.requests.last?.answerSizeMax == 4 << 30)
        fixture.client.limitObjects(to: 12_345)
        _ = try await fixture.get("k")
        #expect(fixture.transport.requests.last?.answerSizeMax == 12_345)
    }

    @Test("a 304 that nobody asked for is an error")
    func unasked304() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(304) }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await fixture.get("k") }
        #expect(error.code == .unexpectedStatus)
    }

    @Test("a range is sent, and its answer must be exactly that range, cut off at the object's end")
    func range() async throws {
        let fixture = try S3ClientFixture { request in
            HTTPResponse(206, ["content-range": "bytes 2-4/5", "etag": "\"e\""], text: "cde")
        }
        let object = try #require(try await fixture.get("k", range: 2..<10).object)
        #expect(object.body.bytes == Array("cde".utf8) && object.attributes.size == 5)
        #expect(fixture.transport.requests.last?.header("range") == "bytes=2-9")
        for range in [1..<5, 2..<4, 3..<5] {
            let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
                try await fixture.get("k", range: range)
            }
            #expect(error.code == .malformedAnswer)
        }
        let unasked = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await fixture.get("k") }
        #expect(unasked.code == .malformedAnswer)
    }

    @Test("a server that does not know ranges answers with the whole object, which is cut")
    func ignoredRange() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200, text: "abcde") }
        #expect(try await fixture.get("k", range: 1..<3).text == "bc")
        #expect(try await fixture.get("k", range: 3..<30).text == "de")
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.get("k", range: 5..<6)
        }
        #expect(error.code == .unexpectedStatus)
    }

    @Test("only NoSuchKey is absence: a missing bucket or a foreign 404 is an error")
    func absence() async throws {
        let answers: [(HTTPResponse, ObjectStoreError.Code?)] = [
            (.error(404, "NoSuchKey"), nil), (.error(404, "NoSuchBucket"), .noSuchBucket),
            (.error(404, "NoSuchVersion"), .unexpectedStatus), (HTTPResponse(404), .notS3),
            (HTTPResponse(404, ["content-type": "text/html"], text: "<html>Not Found</html>"), .notS3),
            (HTTPResponse(404, text: "<Error><Code>NoSuchKey</Code>"), .malformedAnswer),
        ]
        for (answer, code) in answers {
            let fixture = try S3ClientFixture { _ in answer }
            guard let code else {
                #expect(try await fixture.get("k").isAbsent)
                continue
            }
            let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await fixture.get("k") }
            #expect(error.code == code)
        }
    }

    @Test("a web page in place of an object is not S3's, and a body of the wrong length is malformed")
    func malformed() async throws {
        for (answer, code) in [
            (HTTPResponse(200, ["content-type": "text/html; charset=utf-8"], text: "<html>log in</html>"), .notS3),
            (HTTPResponse(200, ["content-length": "5"], text: "body"), .malformedAnswer),
            (HTTPResponse(200, ["content-length": "x"], text: "body"), .malformedAnswer),
        ] as [(HTTPResponse, ObjectStoreError.Code)] {
            let fixture = try S3ClientFixture { _ in answer }
            let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await fixture.get("k") }
            #expect(error.code == code && !error.outcomeIsUnknown)
            let write = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await fixture.put("k") }
            #expect(write.code == code && write.outcomeIsUnknown)
        }
    }

    @Test("an answer without an ETag is tolerated")
    func noETag() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200, text: "body") }
        let object = try #require(try await fixture.get("k").object)
        #expect(object.attributes.eTag == nil)
        #expect(try await fixture.put("k") == Mutation(eTag: nil, isSettled: true))
    }

    @Test("a head returns the attributes")
    func head() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200, ["content-length": "4096", "etag": "\"e\""]) }
        let head = try await fixture.client.head(ObjectKey("k"), .foreground)
        #expect(head == .present(ObjectAttributes(size: 4096, eTag: ETag("e"), metadata: ObjectMetadata())))
        #expect(fixture.transport.requests.map(\.method) == [.head])
    }

    @Test(
        "an ETag is marked as no digest where the store encrypts with a key of its key service or of the caller",
        arguments: [
            ("x-amz-server-side-encryption", "aws:kms", true), ("x-amz-server-side-encryption", "aws:kms:dsse", true),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256", true),
            ("x-amz-server-side-encryption", "AES256", false), ("x-amz-meta-x", "aws:kms", false),
        ])
    func opaqueTag(name: String, value: String, isOpaque: Bool) async throws {
        let fixture = try S3ClientFixture { _ in
            HTTPResponse(200, ["content-length": "4", "etag": "\"e\"", name: value], text: "body")
        }
        #expect(try #require(try await fixture.get("k").object).attributes.isTagOpaque == isOpaque)
        guard case .present(let attributes) = try await fixture.client.head(ObjectKey("k"), .foreground) else {
            return #expect(Bool(false))
        }
        #expect(attributes.isTagOpaque == isOpaque)
    }

    @Test("a refused head is confirmed by one small get, which tells the Code")
    func confirmedHead() async throws {
        let answers: [(HTTPResponse, ObjectStoreError.Code?)] = [
            (.error(404, "NoSuchKey"), nil), (.error(404, "NoSuchBucket"), .noSuchBucket),
            (.error(403, "SignatureDoesNotMatch"), .unauthorized), (.error(403, "RequestTimeTooSkewed"), .clockSkewed),
            (.error(400, "AuthorizationHeaderMalformed"), .badRequest), (.error(301, "PermanentRedirect"), .redirected),
        ]
        for (answer, code) in answers {
            let fixture = try S3ClientFixture { request in
                request.method == .head ? HTTPResponse(answer.status) : answer
            }
            if let code {
                let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
                    try await fixture.client.head(ObjectKey("k"), .foreground)
                }
                #expect(error.code == code)
            } else {
                #expect(try await fixture.client.head(ObjectKey("k"), .foreground) == .absent)
            }
            #expect(fixture.transport.requests.map(\.method) == [.head, .get])
            #expect(fixture.transport.requests.last?.header("range") == "bytes=0-0")
        }
    }

    @Test("an object that appears between a head and its confirmation is present")
    func lateHead() async throws {
        let fixture = try S3ClientFixture { request in
            request.method == .head
                ? HTTPResponse(404) : HTTPResponse(206, ["content-range": "bytes 0-0/7", "etag": "\"e\""], text: "x")
        }
        let head = try await fixture.client.head(ObjectKey("k"), .foreground)
        #expect(head == .present(ObjectAttributes(size: 7, eTag: ETag("e"), metadata: ObjectMetadata())))
    }
}
