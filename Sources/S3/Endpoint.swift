// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Where a bucket is reached: which server, and how the bucket stands in the URL.
///
/// ```
///   base URL http://host:port/part/       path style      http://host:port/part/BUCKET/KEY
///   bucket   BUCKET, key KEY              virtual host    http://BUCKET.host:port/part/KEY
/// ```
/// - Source: Amazon S3 User Guide, "Virtual hosting of buckets".
public struct Endpoint: Hashable, Sendable {
    /// How the bucket stands in the URL.
    public enum Addressing: Hashable, Sendable {
        /// As the first part of the path.
        case path
        /// In front of the host's name.
        case virtualHost
    }

    /// Why a base URL cannot be used: one line, without prefix.
    public struct InvalidBaseURL: Error, Hashable, Sendable, CustomStringConvertible {
        /// The line.
        public let description: String
    }

    /// The bucket, in its plain spelling.
    public let bucket: String
    /// How the bucket stands in the URL.
    public let addressing: Addressing
    /// The region that requests are signed for.
    public let region: String
    /// Whether requests go through TLS.
    public let isTLS: Bool

    /// The value of the Host header, as libcurl sends it: lower case, without the scheme's own port.
    let host: String
    /// What stands before the path in a URL.
    private let origin: String
    /// What stands before the key in the path, encoded: `/`, `/BUCKET/` or `/part/BUCKET/`.
    private let root: String

    /// Takes a base URL apart.
    ///
    /// - Parameters:
    ///   - baseURL: `http://` or `https://`, a host, perhaps a port and a path, and a `/` at the end.
    ///   - bucket: Not empty.
    /// - Throws: When the base URL has not got that form.
    public init(baseURL: String, bucket: String, addressing: Addressing, region: String) throws(InvalidBaseURL) {
        func invalid(_ why: String) -> InvalidBaseURL {
            InvalidBaseURL(description: "invalid base URL \"\(baseURL)\": \(why)")
        }
        guard let schemeEnd = baseURL.firstRange(of: "://") else { throw invalid("it must start with http:// or https://") }
        switch baseURL[..<schemeEnd.lowerBound].lowercased() {
        case "http": isTLS = false
        case "https": isTLS = true
        default: throw invalid("it must start with http:// or https://")
        }
        let rest = baseURL[schemeEnd.upperBound...]
        guard let slash = rest.firstIndex(of: "/"), rest.last == "/" else { throw invalid("it must end with /") }
        let isPlain = rest.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
        guard isPlain, !rest.contains("?"), !rest.contains("#"), !rest.contains("@"), !rest.contains("\\") else {
            throw invalid("it may hold a host, a port and a path, nothing else")
        }
        guard let server = Self.server(rest[..<slash].lowercased(), isTLS: isTLS) else {
            throw invalid("it has no valid host")
        }
        self.bucket = bucket
        self.addressing = addressing
        self.region = region
        let path = String(rest[slash...])
        switch addressing {
        case .path:
            host = server
            root = path + PercentEncoding.component.encode(bucket) + "/"
        case .virtualHost:
            host = bucket.lowercased() + "." + server
            root = path
        }
        origin = (isTLS ? "https://" : "http://") + host
    }

    /// Checks host and port, and drops the port that the scheme has anyway, as libcurl does in the Host header.
    private static func server(_ authority: String, isTLS: Bool) -> String? {
        // An IPv6 address stands in brackets and holds colons itself.
        let afterAddress = authority.lastIndex(of: "]").map { authority.index(after: $0) } ?? authority.startIndex
        guard let colon = authority[afterAddress...].lastIndex(of: ":") else { return authority.isEmpty ? nil : authority }
        let name = authority[..<colon]
        let port = authority[authority.index(after: colon)...]
        guard !name.isEmpty, !name[afterAddress...].contains(":"), let number = UInt16(port), number > 0 else { return nil }
        return number == (isTLS ? 443 : 80) ? String(name) : "\(name):\(number)"
    }

    /// The encoded path of an object.
    func path(of key: String) -> String { root + PercentEncoding.path.encode(key) }

    /// The encoded path of the bucket itself; without the final slash in path style, as S3 documents its bucket requests.
    var bucketPath: String {
        switch addressing {
        case .path: String(root.dropLast())
        case .virtualHost: root
        }
    }

    /// The path by which SigV2 names a request: that of the URL, with the bucket in front if the host holds it.
    ///
    /// - Source: "Signing and Authenticating REST Requests", CanonicalizedResource.
    func version2Resource(_ path: String) -> String {
        switch addressing {
        case .path: path
        case .virtualHost: "/" + bucket + path
        }
    }

    /// The whole URL of an encoded path and query.
    func url(path: String, query: String) -> String {
        query.isEmpty ? origin + path : origin + path + "?" + query
    }
}
