// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import ObjectStores

/// An answer that refuses, and what it means at the object waist.
///
/// - Source: Amazon S3 API Reference, "Error responses"; RFC 9110 section 15.
struct S3Error {
    /// The answer.
    let response: HTTPResponse
    /// What was asked for.
    let operation: S3Operation
    /// Whether the request was signed.
    let isSigned: Bool
    /// The time of this machine since 1970, when the answer came.
    let unixTime: Duration
    /// S3's own words; nil when the body holds none.
    let document: S3ErrorDocument?

    /// Reads a refusal.
    init(_ response: HTTPResponse, to operation: S3Operation, isSigned: Bool, unixTime: Duration) {
        self.response = response
        self.operation = operation
        self.isSigned = isSigned
        self.unixTime = unixTime
        document = response.body.withBytes { S3ErrorDocument(parsing: $0) }
    }

    /// Whether S3 said that the object, and nothing else, does not exist.
    var isNoSuchKey: Bool { response.status == 404 && document?.code == "NoSuchKey" }

    /// The error to throw.
    var objectStoreError: ObjectStoreError {
        let code = code
        let hint = hint(for: code)
        return operation.error(
            code, cause + (hint.map { "; \($0)" } ?? ""), outcomeIsUnknown: outcomeIsUnknown, retryAfter: retryAfter)
    }

    /// `the store answered 403 AccessDenied: Access Denied`.
    private var cause: String {
        guard let document else {
            let type = response.header("content-type").map { " (\(S3ErrorDocument.legible($0)))" } ?? ""
            let nature = response.body.count == 0 ? "without a body" : "with a body that is not S3's" + type
            return "the server answered \(response.status) \(nature)"
        }
        let message = document.message.isEmpty ? "" : ": " + document.message
        return "the store answered \(response.status) \(document.code)\(message)"
    }

    private var code: ObjectStoreError.Code {
        switch document?.code {
        case "NoSuchBucket": return .noSuchBucket
        case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken": return .unauthorized
        case "RequestTimeTooSkewed": return .clockSkewed
        // S3 waited in vain for the body; see its error list.
        case "RequestTimeout": return .timedOut
        case "SlowDown": return .slowDown
        // Google's store says so with 400.
        case "NotImplemented": return .notImplemented
        default: break
        }
        return switch response.status {
        case 301, 302, 307, 308: .redirected
        case 400: .badRequest
        case 401: .unauthorized
        case 403: .forbidden
        // A 404 without S3's Code comes from some other server: it says nothing about the object.
        case 404: document != nil ? .unexpectedStatus : isCutOff ? .malformedAnswer : .notS3
        case 408: .timedOut
        case 409: document?.code == "ConditionalRequestConflict" ? .preconditionFailed : .unexpectedStatus
        case 412: .preconditionFailed
        case 429: .slowDown
        case 501: .notImplemented
        case 500...: .serverError
        default: document == nil && isPage ? .notS3 : .unexpectedStatus
        }
    }

    /// Whether the body begins as S3's document does; without ``document`` its end is missing, and the server may be S3 all the
    /// same.
    private var isCutOff: Bool {
        response.body.withBytes { String(decoding: $0.prefix(200), as: UTF8.self).contains("<Error") }
    }

    private var isPage: Bool { response.header("content-type")?.lowercased().hasPrefix("text/html") ?? false }

    /// After a failure inside the server, or one that only a gateway reports, nobody knows what became of a mutation.
    private var outcomeIsUnknown: Bool {
        switch response.status {
        case 408: true
        case 501: false
        case 503: document == nil
        case 500...: true
        default: false
        }
    }

    /// Retry-After, at most an hour: more is no back-off but an outage.
    ///
    /// - Source: RFC 9110 section 10.2.3.
    private var retryAfter: Duration? {
        guard let value = response.header("retry-after") else { return nil }
        if let seconds = Int(value) { return .seconds(min(max(seconds, 0), 3600)) }
        guard let date = CalendarDate(fixed: value) else { return nil }
        return .seconds(min(max(date.unixSeconds - unixTime.components.seconds, 0), 3600))
    }
}

extension S3Error {
    /// What the user can do about it; nil when the cause says all.
    private func hint(for code: ObjectStoreError.Code) -> String? {
        switch code {
        case .redirected: return redirectHint
        case .clockSkewed: return skewHint
        case .badRequest: return region.map { "use --region=\($0)" }
        case .noSuchBucket: return "check its name, --region and --baseURL"
        case .notS3, .malformedAnswer: return "check --baseURL: no S3 seems to be there"
        case .unauthorized: return "check the access ID and key"
        case .forbidden where !isSigned:
            return "an unsigned request for a missing object is refused like this unless everyone may list the bucket: "
                + "allow listing, or give an access ID and key"
        default: return nil
        }
    }

    private var region: String? { response.header("x-amz-bucket-region") ?? document?.region }

    private var redirectHint: String {
        if let region { return "use --region=\(S3ErrorDocument.legible(region))" }
        if let endpoint = document?.endpoint {
            return "the bucket is reached at \(endpoint): check --region, --vhost and --baseURL"
        }
        if let location = response.header("location") {
            return "it points to \(S3ErrorDocument.legible(location)): check --region, --vhost and --baseURL"
        }
        return "check --region, --vhost and --baseURL"
    }

    private var skewHint: String {
        guard let theirs = response.header("date").flatMap(CalendarDate.init(fixed:)) else {
            return "the clock of this machine differs from the server's: set it"
        }
        let ahead = unixTime.components.seconds - theirs.unixSeconds
        let direction = ahead < 0 ? "behind" : "ahead of"
        return "the clock of this machine is \(abs(ahead)) seconds \(direction) the server's: set it"
    }
}
