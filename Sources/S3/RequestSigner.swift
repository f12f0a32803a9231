// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import DataPath
internal import Synchronization

/// Turns a described request into one that can be sent, by dating and signing it.
///
/// - Concurrency: safe from anywhere. The SigV4 key is computed once a day and kept, with the texts that change with it.
final class RequestSigner: Sendable {
    private let endpoint: Endpoint
    private let credentials: Credentials?
    private let version: SignatureVersion
    private let version2Key: MAC?
    private let version4Day = Mutex<Version4Day?>(nil)

    /// What the signatures of one day have in common.
    private struct Version4Day {
        let days: Int
        let scope: String
        let key: MAC
        /// The Authorization header up to the names of the signed headers.
        let authorization: String
    }

    /// Makes a signer; without credentials it only dates.
    init(endpoint: Endpoint, credentials: Credentials?, version: SignatureVersion) {
        self.endpoint = endpoint
        self.credentials = credentials
        self.version = version
        version2Key = version == .v2 ? credentials.map { SignatureV2.signingKey(secretKey: $0.secretKey) } : nil
    }

    /// Dates and signs a request.
    ///
    /// Hashes the whole body, so it belongs on the caller's executor, never on the transport's thread.
    func sign(_ request: S3Request, at unixTime: Duration) -> HTTPRequest {
        let date = CalendarDate(unixTime: unixTime)
        var request = request
        request.headers.reserveCapacity(request.headers.count + request.unsignedHeaders.count + 4)
        switch (credentials, version) {
        case (let credentials?, .v4): sign(&request, credentials, date)
        case (let credentials?, .v2): signVersion2(&request, credentials, date)
        case (nil, .v4): request.add("x-amz-date", date.basic)
        case (nil, .v2): request.add("date", date.fixed)
        }
        request.headers.append(contentsOf: request.unsignedHeaders)
        return HTTPRequest(
            method: request.method, url: endpoint.url(path: request.path, query: request.encodedQuery),
            headers: request.headers, body: request.body, answerSizeMax: request.answerSizeMax)
    }

    private func sign(_ request: inout S3Request, _ credentials: Credentials, _ date: CalendarDate) {
        let payloadHash =
            request.body.map { body in hexadecimal(body.withBytes { Digest.sha256.hash($0) }) } ?? SignatureV4.emptyPayloadHash
        let basic = date.basic
        let day = version4Day(of: date, credentials)
        request.add("x-amz-date", basic)
        request.add("x-amz-content-sha256", payloadHash)
        if let token = credentials.sessionToken { request.add("x-amz-security-token", token) }
        let canonical = SignatureV4.canonicalRequest(
            method: request.method.rawValue, path: request.path, query: request.canonicalQuery,
            headers: request.headers + [HTTPField("host", endpoint.host)], payloadHash: payloadHash)
        let signature = SignatureV4.signature(of: canonical, at: basic, scope: day.scope, key: day.key)
        request.add("authorization", "\(day.authorization)\(canonical.signedHeaders), Signature=\(signature)")
    }

    private func version4Day(of date: CalendarDate, _ credentials: Credentials) -> Version4Day {
        version4Day.withLock { cached in
            if let cached, cached.days == date.days { return cached }
            let scope = SignatureV4.scope(date, region: endpoint.region, service: "s3")
            let key = SignatureV4.signingKey(
                secretKey: credentials.secretKey, day: date.day, region: endpoint.region, service: "s3")
            let authorization = "AWS4-HMAC-SHA256 Credential=\(credentials.accessID)/\(scope), SignedHeaders="
            let day = Version4Day(days: date.days, scope: scope, key: key, authorization: authorization)
            cached = day
            return day
        }
    }

    private func signVersion2(_ request: inout S3Request, _ credentials: Credentials, _ date: CalendarDate) {
        guard let version2Key else { preconditionFailure("a signer of version 2 has its key") }
        request.add("date", date.fixed)
        if let token = credentials.sessionToken { request.add("x-amz-security-token", token) }
        let text = SignatureV2.stringToSign(
            method: request.method.rawValue, resource: endpoint.version2Resource(request.path), query: request.query,
            headers: request.headers)
        let signature = SignatureV2.signature(of: text, key: version2Key)
        request.add("authorization", "AWS \(credentials.accessID):\(signature)")
    }
}
