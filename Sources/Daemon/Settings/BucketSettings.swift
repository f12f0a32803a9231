// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A bucket, and how to talk to it.
struct BucketSettings: Sendable {
    /// How requests are signed.
    enum Signature: String, CaseIterable, Sendable {
        /// Version 2, for old servers.
        case aws2
        /// Version 4.
        case aws4
    }

    /// The bucket's name.
    let bucket: String
    /// Where S3 is: `http://` or `https://`, a host, a slash at the end.
    let baseURL: String
    /// Whether the bucket stands in the host name.
    let isVirtualHost: Bool
    /// The region that is signed for.
    let region: String
    /// Who asks; nil is anonymous.
    let credentials: CredentialSettings?
    /// How requests are signed.
    let signature: Signature
    /// How connections are made and how patient they are.
    var connection: ConnectionSettings
    /// What goes with each new object.
    let objects: ObjectSettings

    /// The bucket's URL, with a slash at the end.
    var url: String {
        guard isVirtualHost, let host = baseURL.firstRange(of: "://")?.upperBound else { return baseURL + bucket + "/" }
        return baseURL[..<host] + bucket + "." + baseURL[host...]
    }

    /// What stands behind the scheme of the base URL, without the slash at its end: a host, perhaps with port and path.
    var host: Substring {
        let end = baseURL.hasSuffix("/") ? baseURL.dropLast() : baseURL[...]
        guard let start = end.firstRange(of: "://")?.upperBound else { return end }
        return end[start...]
    }

    /// The same bucket with the certificate authorities at another path.
    func replacing(authorityFile: String) -> BucketSettings {
        var copy = self
        copy.connection.authorityFile = authorityFile
        return copy
    }
}

/// An access key.
struct CredentialSettings: Equatable, Sendable {
    /// The key's id, which is no secret.
    let accessID: String
    /// The key.
    let accessKey: Secret
}

/// How connections are made and how patient they are.
struct ConnectionSettings: Equatable, Sendable {
    /// Certificate authorities in PEM; nil means the system's.
    var authorityFile: String?
    /// Whether the server's certificate is verified.
    let verifiesPeer: Bool
    /// The longest wait for a connection, and for a transfer that does not move.
    let timeout: Duration
    /// The pause before the first retry.
    let initialRetryPause: Duration
    /// The sum of the pauses after which a request has failed.
    let totalRetryPauseMax: Duration
    /// The limit of one upload; nil means none.
    let uploadBytesPerSecond: UInt64?
    /// The limit of one download; nil means none.
    let downloadBytesPerSecond: UInt64?
    /// Whether HTTP/2 is avoided.
    let usesHTTP11: Bool
    /// Whether connections are used again.
    let reusesConnections: Bool
    /// IP_TOS of each socket; nil leaves it alone.
    let typeOfService: Int?
    /// Whether headers are logged.
    let logsHTTP: Bool
}

/// What goes with each new object.
struct ObjectSettings: Equatable, Sendable {
    /// The canned ACL.
    let accessType: String
    /// The storage class; nil leaves it to the bucket.
    let storageClass: String?
    /// The encryption at the server; nil leaves it to the bucket.
    let serverSideEncryption: String?
    /// The key for `aws:kms`.
    let serverSideEncryptionKeyID: String?
}
