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
        /// The text that is hashed, in UTF-8.
        let text: [UInt8]
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
        var headers = headers
        for index in headers.indices {
            if !isLowerCase(headers[index].name) { headers[index].name = headers[index].name.lowercased() }
            if !isTrimmed(headers[index].value) { headers[index].value = trimmed(headers[index].value) }
        }
        headers.sort { $0.name < $1.name }
        let signedHeaders = headers.map(\.name).joined(separator: ";")
        let fieldBytes = headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 2 }
        var text: [UInt8] = []
        text.reserveCapacity(
            method.utf8.count + path.utf8.count + query.utf8.count + fieldBytes + signedHeaders.utf8.count
                + payloadHash.utf8.count + 5)
        func add(_ part: String, _ end: Unicode.Scalar) {
            text.append(contentsOf: part.utf8)
            text.append(UInt8(ascii: end))
        }
        add(method, "\n")
        add(path, "\n")
        add(query, "\n")
        for header in headers {
            add(header.name, ":")
            add(header.value, "\n")
        }
        add("", "\n")
        add(signedHeaders, "\n")
        text.append(contentsOf: payloadHash.utf8)
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
    ///
    /// - Parameter date: ``CalendarDate/basic``.
    static func signature(of request: CanonicalRequest, at date: String, scope: String, key: MAC) -> String {
        let hash = hexadecimal(Digest.sha256.hash(request.text))
        return hexadecimal(key.authenticate("AWS4-HMAC-SHA256\n\(date)\n\(scope)\n\(hash)"))
    }

    /// Whether ``trimmed(_:)`` would leave the value as it is: nearly every value is clean, and that costs one look.
    private static func isTrimmed(_ value: String) -> Bool {
        let bytes = value.utf8.span
        var wasBlank = true
        for index in bytes.indices {
            let isBlank = bytes[index] == UInt8(ascii: " ")
            if bytes[index] == UInt8(ascii: "\t") || (wasBlank && isBlank) { return false }
            wasBlank = isBlank
        }
        return !wasBlank || bytes.isEmpty
    }

    /// Without blanks at the ends, and with single ones between.
    private static func trimmed(_ value: String) -> String {
        let words = value.utf8.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        return words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
    }

    /// Whether `lowercased()` would leave the name as it is, without asking Unicode: false also where only that can tell.
    private static func isLowerCase(_ name: String) -> Bool {
        let bytes = name.utf8.span
        for index in bytes.indices where bytes[index] >= 0x80 || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(bytes[index]) {
            return false
        }
        return true
    }
}
