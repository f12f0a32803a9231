// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What the transport needs to know beside each request, validated by whoever makes it.
public struct TransportSettings: Sendable {
    /// How long making a connection may take, the name's resolution and TLS included; never longer than ``timeout``.
    public var connectTimeout: Duration
    /// An attempt of whose bytes none has moved for so long is ended.
    public var stallTimeout: Duration
    /// An attempt older than this is ended as soon as its bytes stop moving; see ``TransferProgress``.
    public var timeout: Duration
    /// Bits per second that one transfer may send; nil for no limit.
    public var uploadBitsPerSecondMax: Int?
    /// Bits per second that one transfer may receive; nil for no limit.
    public var downloadBitsPerSecondMax: Int?
    /// Whether HTTP/2 is never negotiated.
    public var isHTTP11Only: Bool
    /// Whether connections serve several requests.
    public var reusesConnections: Bool
    /// How long a connection may have been idle and still be used again; after two minutes many servers and routers have given it up.
    public var idleConnectionMax: Duration
    /// The type of service of every packet, 0 ... 255; nil leaves the system's.
    public var typeOfService: UInt8?
    /// A file of certificates to trust instead of the system's.
    public var caFile: String?
    /// Whether the server's certificate may be anybody's; its name is checked all the same.
    public var isInsecure: Bool
    /// The User-Agent header.
    public var userAgent: String
    /// Whether every request and answer is logged, at debug level, line by line and without its secrets.
    public var isDumped: Bool
    /// How many idle handles and connections are kept for reuse.
    public var idleHandlesMax: Int

    /// Makes settings with the given total limit; the rest is set by name.
    ///
    /// - Parameters:
    ///   - timeout: Also the stall limit; the connect limit is 10 seconds, or this if it is shorter.
    ///   - userAgent: `s3backer/VERSION`.
    public init(timeout: Duration, userAgent: String) {
        self.timeout = timeout
        self.userAgent = userAgent
        connectTimeout = min(timeout, .seconds(10))
        stallTimeout = timeout
        isHTTP11Only = false
        reusesConnections = true
        isInsecure = false
        isDumped = false
        idleHandlesMax = 256
        idleConnectionMax = .seconds(118)
    }
}
