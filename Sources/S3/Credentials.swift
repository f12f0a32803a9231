// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What proves to the store who asks.
///
/// Every way to print one shows the access ID at most.
public struct Credentials: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The access key's ID; public.
    public let accessID: String
    /// The access key's secret.
    public let secretKey: String
    /// The token of temporary credentials; nil for lasting ones.
    public let sessionToken: String?

    /// Makes credentials.
    public init(accessID: String, secretKey: String, sessionToken: String?) {
        self.accessID = accessID
        self.secretKey = secretKey
        self.sessionToken = sessionToken
    }

    /// The access ID, without the secrets.
    public var description: String { "credentials of \"\(accessID)\"" }
    /// The same as ``description``.
    public var debugDescription: String { description }
    /// A mirror that shows the access ID only, for `dump` and string interpolation of a containing type.
    public var customMirror: Mirror { Mirror(self, children: ["accessID": accessID]) }
}

/// How requests are signed.
public enum SignatureVersion: String, Hashable, Sendable, CaseIterable {
    /// HMAC-SHA1 over a few headers; some old servers know nothing else. No protection of the body.
    case v2 = "aws2"
    /// AWS4-HMAC-SHA256.
    case v4 = "aws4"
}
