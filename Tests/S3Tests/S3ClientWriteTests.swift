// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import Synchronization
import Testing

@testable import S3

@Suite("S3 client: put and delete")
struct S3ClientWriteTests {
    @Test("a put sends its digest, its metadata and the object options of the settings")
    func put() async throws {
        let fixture = try S3ClientFixture({ settings in
            settings.accessType = .publicRead
            settings.storageClass = "STANDARD_IA"
            settings.serverSideEncryption = .kms(keyID: "key-1")
        }) { _ in HTTPResponse(200, ["etag": "\"e\""]) }
        let metadata = ObjectMetadata(
            contentType: "application/x-s3backer-block", contentEncoding: "deflate", user: ["s3backer-filesize": "1048576"])
        #expect(try await fixture.put("k", "message digest", metadata) == Mutation(eTag: ETag("e"), isSettled: true))
        let request = try #require(fixture.transport.requests.first)
        for (name, value) in [
            ("content-type", "application/x-s3backer-block"),
            ("content-encoding", "deflate"), ("x-amz-meta-s3backer-filesize", "1048576"), ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "STANDARD_IA"), ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "key-1"),
            ("x-amz-content-sha256", "f7846f55cf23e14eebeab5b4e1550cad5b509e3348fbc4efa3a1413d393cb650"),
        ] {
            #expect(request.header(name) == value)
        }
        #expect(request.header("if-match") == nil && request.header("if-none-match") == nil)
        #expect(request.header("content-md5") == nil)
    }

    @Test("a put whose signature does not cover the body names its MD5")
    func digestWithoutPayloadSignature() async throws {
        let fixture = try S3ClientFixture({ $0.signatureVersion = .v2 }) { _ in HTTPResponse(200, ["etag": "\"e\""]) }
        _ = try await fixture.put("k", "message digest", ObjectMetadata(contentType: nil))
        #expect(fixture.transport.requests.last?.header("content-md5") == "+WtpfXy3k41SWi8xqvFh0A==")
    }

    @Test("AES256 is asked for without a key, and unset options send nothing")
    func options() async throws {
        let encrypted = try S3ClientFixture({ $0.serverSideEncryption = .aes256 }) { _ in HTTPResponse(200) }
        _ = try await encrypted.put("k")
        #expect(encrypted.transport.requests.last?.header("x-amz-server-side-encryption") == "AES256")
        let plain = try S3ClientFixture({ $0.accessType = nil }) { _ in HTTPResponse(200) }
        _ = try await plain.put("k")
        let names = plain.transport.requests.last?.headers.map(\.name).filter { $0.hasPrefix("x-amz-") }
        #expect(names?.sorted() == ["x-amz-content-sha256", "x-amz-date"])
    }

    @Test("a conditional put sends its condition; the tag of If-Match goes without quotes, which every store accepts")
    func conditions() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200) }
        _ = try await fixture.put("k", "x", ObjectMetadata(), .ifAbsent)
        #expect(fixture.transport.requests.last?.header("if-none-match") == "*")
        _ = try await fixture.put("k", "x", ObjectMetadata(), .ifMatch(ETag("abc")))
        #expect(fixture.transport.requests.last?.header("if-match") == "abc")
    }

    @Test(
        "a condition that does not hold is preconditionFailed, in each of S3's spellings",
        arguments: [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict"), (404, "NoSuchKey")])
    func conditionFails(status: Int, code: String) async throws {
        let fixture = try S3ClientFixture { _ in .error(status, code) }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.put("k", "x", ObjectMetadata(), .ifMatch(ETag("abc")))
        }
        #expect(error.code == .preconditionFailed && !error.outcomeIsUnknown)
    }

    @Test("one key is deleted by DELETE, and one that does not exist is deleted already")
    func deleteOne() async throws {
        for answer in [HTTPResponse(204), .error(404, "NoSuchKey")] {
            let fixture = try S3ClientFixture { _ in answer }
            #expect(try await fixture.client.delete([ObjectKey("k")], .foreground) == Mutation(eTag: nil, isSettled: true))
            #expect(fixture.transport.requests.map(\.method) == [.delete])
        }
        let fixture = try S3ClientFixture { _ in .error(404, "NoSuchBucket") }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.client.delete([ObjectKey("k")], .foreground)
        }
        #expect(error.code == .noSuchBucket)
    }

    @Test("many keys are deleted by POST ?delete, a thousand at a time, in path and virtual-host style")
    func deleteMany() async throws {
        for (addressing, url) in [
            (Endpoint.Addressing.path, "http://s3.example.com/b?delete"), (.virtualHost, "http://b.s3.example.com/?delete"),
        ] {
            let fixture = try S3ClientFixture(addressing: addressing) { _ in HTTPResponse(200, text: "<DeleteResult/>") }
            let keys = (0..<2500).map { ObjectKey("k\($0)") }
            _ = try await fixture.client.delete(keys, .background)
            let requests = fixture.transport.requests
            #expect(requests.map(\.url) == [url, url, url] && requests.allSatisfy { $0.method == .post })
            let counts = requests.map { $0.text.components(of: "<Object>") }
            #expect(counts == [1000, 1000, 500])
            #expect(requests.allSatisfy { $0.header("content-md5") != nil && $0.text.contains("<Quiet>true</Quiet>") })
        }
    }

    @Test("keys are escaped in the document; what XML cannot spell is deleted alone")
    func escapedKeys() async throws {
        let fixture = try S3ClientFixture { request in
            request.method == .post ? HTTPResponse(200, text: "<DeleteResult></DeleteResult>") : HTTPResponse(204)
        }
        _ = try await fixture.client.delete([ObjectKey("a<b>&\"'\n"), ObjectKey("bell\u{7}"), ObjectKey("ü")], .background)
        #expect(fixture.transport.requests.map(\.method) == [.delete, .post])
        #expect(fixture.transport.requests[0].url == "http://s3.example.com/b/bell%07")
        let document = fixture.transport.requests[1].text
        #expect(document.contains("<Key>a&lt;b&gt;&amp;&quot;&apos;&#10;</Key>") && document.contains("<Key>ü</Key>"))
    }

    @Test("a batch that failed in part throws, and says that some may be gone")
    func partialDelete() async throws {
        for (code, expected) in [("AccessDenied", ObjectStoreError.Code.forbidden), ("InternalError", .serverError)] {
            let fixture = try S3ClientFixture { _ in
                HTTPResponse(
                    200,
                    text: "<DeleteResult><Error><Key>k1</Key><Code>\(code)</Code><Message>No</Message></Error></DeleteResult>")
            }
            let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
                try await fixture.client.delete([ObjectKey("k1"), ObjectKey("k2")], .background)
            }
            #expect(error.code == expected && error.outcomeIsUnknown)
            #expect(error.message.contains("\"k1\": \(code): No"))
        }
    }

    @Test("when a later batch is refused, the outcome of the whole is unknown")
    func laterBatch() async throws {
        let count = Mutex(0)
        let fixture = try S3ClientFixture { _ in
            count.withLock { count in
                count += 1
                return count == 1 ? HTTPResponse(200, text: "<DeleteResult/>") : .error(403, "AccessDenied")
            }
        }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.client.delete((0..<1001).map { ObjectKey("\($0)") } + [ObjectKey("x")], .background)
        }
        #expect(error.code == .forbidden && error.outcomeIsUnknown)
    }

    @Test("a batch whose answer is no result is malformed, and its outcome unknown", arguments: ["", "<x/>", "<DeleteResult>"])
    func malformedResult(text: String) async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200, text: text) }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await fixture.client.delete([ObjectKey("k1"), ObjectKey("k2")], .background)
        }
        #expect(error.code == .malformedAnswer && error.outcomeIsUnknown)
    }

    @Test("without credentials nothing is signed")
    func anonymous() async throws {
        for version in SignatureVersion.allCases {
            let fixture = try S3ClientFixture(isSigned: false, { $0.signatureVersion = version }) { _ in HTTPResponse(200) }
            _ = try await fixture.put("k")
            let request = try #require(fixture.transport.requests.first)
            #expect(request.header("authorization") == nil && request.header("x-amz-content-sha256") == nil)
        }
    }

    @Test("version 2 sends a Date and no x-amz-date")
    func version2() async throws {
        let fixture = try S3ClientFixture({ $0.signatureVersion = .v2 }) { _ in HTTPResponse(200) }
        _ = try await fixture.put("k")
        let request = try #require(fixture.transport.requests.first)
        #expect(request.header("authorization")?.hasPrefix("AWS ID:") ?? false)
        #expect(request.header("date")?.hasSuffix(" GMT") ?? false && request.header("x-amz-date") == nil)
    }
}

extension String {
    func components(of part: String) -> Int { ranges(of: part).count }
}
