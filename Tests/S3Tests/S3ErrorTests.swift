// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import Testing

@testable import S3

@Suite("S3 errors")
struct S3ErrorTests {
    private func error(
        _ response: HTTPResponse, isSigned: Bool = true, isMutation: Bool = false, unixTime: Duration = .seconds(1_369_353_600)
    ) -> ObjectStoreError {
        let operation = S3Operation("read", ObjectKey("disk/0"), in: "b", isMutation: isMutation)
        return S3Error(response, to: operation, isSigned: isSigned, unixTime: unixTime).objectStoreError
    }

    @Test(
        "status and Code decide what kind of failure it is",
        arguments: [
            (301, "PermanentRedirect", ObjectStoreError.Code.redirected), (302, "Found", .redirected),
            (307, "TemporaryRedirect", .redirected), (308, "x", .redirected), (300, "x", .unexpectedStatus),
            (400, "InvalidArgument", .badRequest), (400, "ExpiredToken", .unauthorized), (400, "RequestTimeout", .timedOut),
            (401, "x", .unauthorized), (403, "AccessDenied", .forbidden), (403, "InvalidAccessKeyId", .unauthorized),
            (403, "SignatureDoesNotMatch", .unauthorized), (403, "RequestTimeTooSkewed", .clockSkewed),
            (404, "NoSuchBucket", .noSuchBucket), (405, "MethodNotAllowed", .unexpectedStatus), (408, "x", .timedOut),
            (409, "OperationAborted", .unexpectedStatus), (409, "ConditionalRequestConflict", .preconditionFailed),
            (412, "PreconditionFailed", .preconditionFailed), (416, "InvalidRange", .unexpectedStatus),
            (429, "TooManyRequests", .slowDown), (500, "InternalError", .serverError), (501, "NotImplemented", .notImplemented),
            (502, "x", .serverError), (503, "SlowDown", .slowDown), (503, "ServiceUnavailable", .serverError),
        ])
    func codes(status: Int, code: String, expected: ObjectStoreError.Code) {
        let error = error(.error(status, code))
        #expect(error.code == expected)
        #expect(
            error.message.hasPrefix("cannot read object \"disk/0\" in bucket \"b\": the store answered \(status) \(code): Words"))
    }

    @Test("after a failure inside the server the outcome of a mutation is unknown, after a refusal it is not")
    func outcome() {
        for (response, isUnknown) in [
            (HTTPResponse.error(500, "InternalError"), true), (HTTPResponse(502), true), (HTTPResponse(503), true),
            (.error(503, "SlowDown"), false), (HTTPResponse(504), true), (.error(501, "NotImplemented"), false),
            (.error(403, "AccessDenied"), false), (.error(412, "PreconditionFailed"), false), (HTTPResponse(408), true),
        ] {
            #expect(error(response, isMutation: true).outcomeIsUnknown == isUnknown)
            #expect(!error(response, isMutation: false).outcomeIsUnknown)
        }
    }

    @Test("a redirect names the region or the host to use")
    func redirect() {
        #expect(
            error(.error(301, "PermanentRedirect", ["x-amz-bucket-region": "eu-west-1"])).message
                .contains("use --region=eu-west-1"))
        #expect(
            error(.error(301, "PermanentRedirect", more: "<Endpoint>b.s3-x.example.com</Endpoint>")).message
                .contains("reached at b.s3-x.example.com: check --region, --vhost and --baseURL"))
        #expect(error(HTTPResponse(302, ["location": "http://elsewhere/"])).message.contains("points to http://elsewhere/"))
        #expect(error(HTTPResponse(307)).message.contains("check --region, --vhost and --baseURL"))
        #expect(
            error(.error(400, "AuthorizationHeaderMalformed", more: "<Region>eu-west-1</Region>")).message
                .contains("use --region=eu-west-1"))
    }

    @Test("a wrong clock is told with how far it is off")
    func skew() {
        let date = "Fri, 24 May 2013 01:00:00 GMT"
        #expect(
            error(.error(403, "RequestTimeTooSkewed", ["date": date])).message.contains("is 3600 seconds behind the server's"))
        #expect(
            error(.error(403, "RequestTimeTooSkewed", ["date": date]), unixTime: .seconds(1_369_357_205)).message
                .contains("is 5 seconds ahead of the server's"))
        #expect(error(.error(403, "RequestTimeTooSkewed")).message.contains("clock of this machine differs"))
    }

    @Test("an unsigned 403 explains that it may mean a missing object")
    func unsigned() {
        let response = HTTPResponse.error(403, "AccessDenied")
        #expect(error(response, isSigned: false).message.contains("missing object"))
        #expect(!error(response, isSigned: true).message.contains("missing object"))
    }

    @Test("Retry-After is read as seconds and as a date, within an hour")
    func retryAfter() {
        for (value, seconds) in [
            ("7", 7), ("-1", 0), ("999999999", 3600), ("Fri, 24 May 2013 00:00:30 GMT", 30), ("Fri, 24 May 2013 00:00:00 GMT", 0),
            ("Thu, 23 May 2013 00:00:00 GMT", 0),
        ] {
            #expect(error(.error(503, "SlowDown", ["retry-after": value])).retryAfter == .seconds(seconds))
        }
        #expect(error(.error(503, "SlowDown", ["retry-after": "soon"])).retryAfter == nil)
        #expect(error(.error(503, "SlowDown")).retryAfter == nil)
    }

    @Test("a server's words are kept on one line, and bounded")
    func legible() {
        let words = String(repeating: "x\n\u{1b}[31m ", count: 500)
        let error = error(HTTPResponse(403, text: "<Error><Code>C\nD</Code><Message>\(words)</Message></Error>"))
        #expect(!error.message.contains("\n") && !error.message.contains("\u{1b}") && error.message.count < 800)
    }

    @Test("a transport's failure keeps its kind, and whether a mutation may have been sent")
    func transport() {
        let codes: [HTTPTransportError.Kind: ObjectStoreError.Code] = [
            .timedOut: .timedOut, .connectFailed: .connectFailed, .hostUnknown: .hostUnknown, .outOfMemory: .outOfMemory,
            .connectionLost: .connectionLost, .malformedAnswer: .malformedAnswer, .cancelled: .cancelled,
            .other: .connectionLost,
        ]
        for kind in HTTPTransportError.Kind.allCases {
            for (isMutation, isSent) in [(true, true), (true, false), (false, true)] {
                let operation = S3Operation("write", ObjectKey("k"), in: "b", isMutation: isMutation)
                let error = operation.error(HTTPTransportError(kind, "why", mayHaveBeenSent: isSent))
                #expect(error.code == codes[kind])
                #expect(error.outcomeIsUnknown == (isMutation && isSent))
                #expect(error.message == "cannot write object \"k\" in bucket \"b\": why")
            }
        }
    }

    @Test("each kind of answer and failure has its counter")
    func statistics() async throws {
        for (status, counter) in [
            (401, \S3Statistics.unauthorized), (403, \.forbidden), (412, \.stale), (301, \.redirect), (302, \.redirect),
            (307, \.redirect), (308, \.redirect), (303, \.error3xx), (400, \.error4xx), (500, \.error5xx), (503, \.error5xx),
            (600, \.otherError),
        ] {
            let fixture = try S3ClientFixture { _ in HTTPResponse(status) }
            _ = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await fixture.get("k") }
            #expect(fixture.client.statistics[keyPath: counter] == 1)
            fixture.client.resetStatistics()
            #expect(fixture.client.statistics[keyPath: counter] == 0)
        }
        for (kind, counter) in [
            (HTTPTransportError.Kind.timedOut, \S3Statistics.timeouts), (.connectFailed, \.connectFailed),
            (.hostUnknown, \.hostUnknown), (.outOfMemory, \.outOfMemory), (.connectionLost, \.otherTransportError),
            (.cancelled, \.canceled), (.cancelled, \.canceledWrites),
        ] {
            let fixture = try S3ClientFixture { _ throws(HTTPTransportError) in
                throw HTTPTransportError(kind, "why", mayHaveBeenSent: true)
            }
            _ = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await fixture.put("k") }
            #expect(fixture.client.statistics[keyPath: counter] == 1)
        }
        let fixture = try S3ClientFixture { request in
            request.method == .get ? .error(404, "NoSuchKey") : HTTPResponse(200)
        }
        _ = try await fixture.put("k")
        _ = try await fixture.client.delete([ObjectKey("k")], .foreground)
        _ = try await fixture.get("k")
        let statistics = fixture.client.statistics
        #expect(statistics.puts.count == 1 && statistics.deletes.count == 1 && statistics.gets.count == 0)
        #expect(statistics.error4xx == 0 && statistics.handlesCreated == 1 && statistics.handlesReused == 3)
    }
}
