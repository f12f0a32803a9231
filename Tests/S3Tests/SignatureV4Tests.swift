// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import S3

/// The examples that AWS publishes: "Signature Calculations for the Authorization Header: Transferring Payload in a Single
/// Chunk" of the S3 documentation, and the aws4_testsuite of the general signing documentation.
@Suite("Signature version 4")
struct SignatureV4Tests {
    struct Example: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var method = "GET"
        var path = "/"
        var query = ""
        var headers: [HTTPField] = []
        var payloadHash = SignatureV4.emptyPayloadHash
        var signature: String
    }

    static let s3Examples = [
        Example(
            testDescription: "GET object", path: "/test.txt",
            headers: [HTTPField("range", "bytes=0-9"), HTTPField("x-amz-content-sha256", SignatureV4.emptyPayloadHash)],
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        Example(
            testDescription: "PUT object", method: "PUT", path: PercentEncoding.path.encode("/test$file.text"),
            headers: [
                HTTPField("date", "Fri, 24 May 2013 00:00:00 GMT"), HTTPField("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                HTTPField("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
            ],
            payloadHash: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        Example(
            testDescription: "GET bucket lifecycle", query: "lifecycle=",
            headers: [HTTPField("x-amz-content-sha256", SignatureV4.emptyPayloadHash)],
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        Example(
            testDescription: "GET bucket (list objects)", query: "max-keys=2&prefix=J",
            headers: [HTTPField("x-amz-content-sha256", SignatureV4.emptyPayloadHash)],
            signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    @Test("the examples of the S3 documentation get their published signatures", arguments: s3Examples)
    func s3Example(_ example: Example) {
        let date = CalendarDate(unixTime: .seconds(1_369_353_600))
        #expect(date.basic == "20130524T000000Z")
        let scope = SignatureV4.scope(date, region: "us-east-1", service: "s3")
        let key = SignatureV4.signingKey(
            secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", day: date.day, region: "us-east-1", service: "s3")
        let request = SignatureV4.canonicalRequest(
            method: example.method, path: example.path, query: example.query,
            headers: example.headers + [
                HTTPField("Host", "examplebucket.s3.amazonaws.com"), HTTPField("x-amz-date", date.basic),
            ], payloadHash: example.payloadHash)
        #expect(SignatureV4.signature(of: request, at: date.basic, scope: scope, key: key) == example.signature)
    }

    static let suiteExamples = [
        Example(
            testDescription: "get-vanilla", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        Example(
            testDescription: "post-vanilla", method: "POST",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        Example(
            testDescription: "get-vanilla-query-order-key-case", query: "Param1=value1&Param2=value2",
            signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        Example(
            testDescription: "get-utf8", path: PercentEncoding.path.encode("/\u{1234}"),
            signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        Example(
            testDescription: "get-header-value-trim",
            headers: [HTTPField("My-Header1", " value1"), HTTPField("My-Header2", " \"a   b   c\"")],
            signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        Example(
            testDescription: "get-unreserved",
            path: PercentEncoding.path.encode("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
            signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ]

    @Test("the examples of aws4_testsuite get their published signatures", arguments: suiteExamples)
    func suiteExample(_ example: Example) {
        let date = CalendarDate(unixTime: .seconds(1_440_938_160))
        #expect(date.basic == "20150830T123600Z")
        let scope = SignatureV4.scope(date, region: "us-east-1", service: "service")
        let key = SignatureV4.signingKey(
            secretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", day: date.day, region: "us-east-1", service: "service")
        let request = SignatureV4.canonicalRequest(
            method: example.method, path: example.path, query: example.query,
            headers: example.headers + [HTTPField("Host", "example.amazonaws.com"), HTTPField("X-Amz-Date", date.basic)],
            payloadHash: example.payloadHash)
        #expect(SignatureV4.signature(of: request, at: date.basic, scope: scope, key: key) == example.signature)
    }

    @Test("the signer's Authorization header is the documented one, also after the day's key was cached and a day passed")
    func signer() throws {
        let endpoint = try Endpoint(
            baseURL: "https://s3.amazonaws.com/", bucket: "examplebucket", addressing: .virtualHost, region: "us-east-1")
        let credentials = Credentials(
            accessID: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", sessionToken: nil)
        let signer = RequestSigner(endpoint: endpoint, credentials: credentials, version: .v4)
        var request = S3Request(method: .get, path: endpoint.path(of: "test.txt"), answerSizeMax: 1)
        request.add("range", "bytes=0-9")
        for day in [1_369_353_600, 1_369_353_600 + 86_400, 1_369_353_600, 1_369_353_600] {
            let signed = signer.sign(request, at: .seconds(day))
            let authorization = signed.headers.first { $0.name == "authorization" }?.value
            let documented =
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                + "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                + "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            #expect((authorization == documented) == (day == 1_369_353_600))
        }
    }

    @Test("a session token is sent, and signed")
    func sessionToken() throws {
        let endpoint = try Endpoint(
            baseURL: "http://127.0.0.1:9000/", bucket: "b", addressing: .path, region: "us-east-1")
        let credentials = Credentials(accessID: "ID", secretKey: "SECRET", sessionToken: "TOKEN")
        let signer = RequestSigner(endpoint: endpoint, credentials: credentials, version: .v4)
        let signed = signer.sign(S3Request(method: .get, path: "/b/k", answerSizeMax: 1), at: .zero)
        #expect(signed.headers.contains(HTTPField("x-amz-security-token", "TOKEN")))
        let authorization = signed.headers.first { $0.name == "authorization" }?.value ?? ""
        #expect(authorization.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"))
    }
}
