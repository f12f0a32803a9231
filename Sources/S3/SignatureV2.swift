// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// AWS Signature Version 2 in the Authorization header: pure functions.
///
/// - Source: Amazon S3, "Signing and Authenticating REST Requests (AWS signature version 2)".
enum SignatureV2 {
    /// The query's names that belong to the resource, and so are signed.
    private static let subresources: Set<String> = [
        "acl", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy", "requestPayment",
        "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
    ]

    /// Writes what is signed.
    ///
    /// - Parameters:
    ///   - resource: The path with the bucket, encoded as in the URL; see ``Endpoint/version2Resource(_:)``.
    ///   - headers: Names in lower case; `date`, `content-md5` and `content-type` have lines of their own, of the others those
    ///     that start with `x-amz-` count.
    static func stringToSign(
        method: String, resource: String, query: [(name: String, value: String?)], headers: [HTTPField]
    ) -> String {
        func value(_ name: String) -> String { headers.first { $0.name == name }?.value ?? "" }
        var text = "\(method)\n\(value("content-md5"))\n\(value("content-type"))\n\(value("date"))\n"
        for header in headers.filter({ $0.name.hasPrefix("x-amz-") }).sorted(by: { $0.name < $1.name }) {
            text += "\(header.name):\(header.value.drop { $0 == " " })\n"
        }
        let signed = query.filter { subresources.contains($0.name) }.sorted { $0.name < $1.name }
        let parts = signed.map { part in part.value.map { "\(part.name)=\($0)" } ?? part.name }
        return text + resource + (parts.isEmpty ? "" : "?" + parts.joined(separator: "&"))
    }

    /// The signature in Base64.
    static func signature(of text: String, key: MAC) -> String { base64(key.authenticate(text)) }

    /// The key, for as long as the secret lives.
    static func signingKey(secretKey: String) -> MAC { MAC(.sha1, key: Array(secretKey.utf8)) }
}
