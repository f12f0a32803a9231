// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// AWS Signature Version 4 in the Authorization header, whole payload in one piece: pure functions.
///
/// - Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in a Single
///   Chunk".
enum SignatureV4 {
    /// The hash of no payload.
    static let emptyPayloadHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// What the signature covers, in the one spelling that both sides can compute.
    struct CanonicalRequest {
        /// The text that is hashed.
        let text: String
        /// The names of its headers, as the Authorization header lists them.
        let signedHeaders: String
    }

    /// Writes the canonical request.
    ///
    /// - Parameters:
    ///   - path: Encoded as in the URL.
    ///   - query: Encoded and sorted, with `=` after every name.
    ///   - headers: With `host`; each name once.
    ///   - payloadHash: SHA-256 in hexadecimal.
    static func canonicalRequest(
        method: String, path: String, query: String, headers: [HTTPField], payloadHash: String
    ) -> CanonicalRequest {
        let headers = headers.map { HTTPField($0.name.lowercased(), trimmed($0.value)) }.sorted { $0.name < $1.name }
        var text = method + "\n" + path + "\n" + query + "\n"
        for header in headers { text += header.name + ":" + header.value + "\n" }
        let signedHeaders = headers.map(\.name).joined(separator: ";")
        text += "\n" + signedHeaders + "\n" + payloadHash
        return CanonicalRequest(text: text, signedHeaders: signedHeaders)
    }

    /// `20130524/us-east-1/s3/aws4_request`: what a signing key is good for.
    static func scope(_ date: CalendarDate, region: String, service: String) -> String {
        "\(date.day)/\(region)/\(service)/aws4_request"
    }

    /// The key of one day, region and service.
    static func signingKey(secretKey: String, day: String, region: String, service: String) -> MAC {
        var key = MAC(.sha256, key: Array("AWS4\(secretKey)".utf8))
        for part in [day, region, service, "aws4_request"] { key = MAC(.sha256, key: key.authenticate(part)) }
        return key
    }

    /// The signature in hexadecimal.
    static func signature(of request: CanonicalRequest, at date: CalendarDate, scope: String, key: MAC) -> String {
        let hash = hexadecimal(Digest.sha256.hash(request.text))
        return hexadecimal(key.authenticate("AWS4-HMAC-SHA256\n\(date.basic)\n\(scope)\n\(hash)"))
    }

    /// Without blanks at the ends, and with single ones between.
    private static func trimmed(_ value: String) -> String {
        let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
        // Nearly every value is clean already; it costs one look.
        var wasBlank = true
        let isClean = value.utf8.allSatisfy { byte in
            defer { wasBlank = isBlank(byte) }
            return byte != 0x09 && !(wasBlank && byte == 0x20)
        }
        if isClean && !wasBlank { return value }
        return value.utf8.split(whereSeparator: isBlank).map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
    }
}
