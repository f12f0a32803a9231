// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What the S3 client needs to know, validated by whoever makes it.
public struct S3Settings: Sendable {
    /// Where the bucket is.
    public var endpoint: Endpoint
    /// Who asks; nil sends unsigned requests.
    public var credentials: Credentials?
    /// How requests are signed.
    public var signatureVersion: SignatureVersion
    /// Who may read new objects besides the owner (`x-amz-acl`); nil sends no such header.
    public var accessType: AccessType?
    /// The storage class of new objects (`x-amz-storage-class`), as S3 spells it; nil leaves it to the bucket.
    public var storageClass: String?
    /// How the server encrypts new objects; nil leaves it to the bucket.
    public var serverSideEncryption: ServerSideEncryption?
    /// The content codings that the reader of objects understands (`Accept-Encoding`); nil sends no such header.
    public var acceptEncoding: String?
    /// The largest object that is read, in bytes; protects against a server that never stops. See
    /// ``S3Client/limitObjects(to:)``.
    public var objectSizeMax: Int
    /// Where bodies are hashed; nil for the executor of the caller.
    public var computing: (any TaskExecutor)?

    /// Makes settings for an endpoint, private objects and SigV4; the rest is set by name.
    public init(endpoint: Endpoint, credentials: Credentials?) {
        self.endpoint = endpoint
        self.credentials = credentials
        signatureVersion = .v4
        accessType = .private
        objectSizeMax = 4 << 30
    }
}

/// Who may do what with an object besides its owner: the canned ACLs that make sense for a disk.
///
/// - Source: Amazon S3 User Guide, "Canned ACL".
public enum AccessType: String, Hashable, Sendable, CaseIterable {
    /// Nobody.
    case `private`
    /// Everyone reads.
    case publicRead = "public-read"
    /// Everyone reads and writes.
    case publicReadWrite = "public-read-write"
    /// Everyone with an account of the provider reads.
    case authenticatedRead = "authenticated-read"
}

/// How the server encrypts an object where it lies.
///
/// - Source: Amazon S3 API Reference, PutObject, `x-amz-server-side-encryption`.
public enum ServerSideEncryption: Hashable, Sendable {
    /// With keys of S3's own (`AES256`).
    case aes256
    /// With a key of the key management service (`aws:kms`), named by its ID.
    case kms(keyID: String)
}
