// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// Sends one HTTP request and receives its answer, whatever the status; knows nothing of S3.
///
/// It neither retries nor follows redirects: the first answer is the answer.
///
/// - Concurrency: safe from anywhere. Cancelling the task ends the transfer at once.
public protocol HTTPTransport: Sendable {
    /// Sends a request and waits for the whole answer.
    ///
    /// - Throws: When no whole answer came; see ``HTTPTransportError/Kind``.
    func send(_ request: HTTPRequest) async throws(HTTPTransportError) -> HTTPResponse

    /// What was counted since the start or the last reset.
    var statistics: HTTPTransportStatistics { get }

    /// Sets every count to zero.
    func resetStatistics()
}

/// What a transport counts beside what its caller can see itself.
public struct HTTPTransportStatistics: Hashable, Sendable {
    /// Transfers that needed a new handle.
    public var handlesCreated: UInt64
    /// Transfers that took a handle of an earlier one.
    public var handlesReused: UInt64

    /// Makes counts.
    public init(handlesCreated: UInt64, handlesReused: UInt64) {
        self.handlesCreated = handlesCreated
        self.handlesReused = handlesReused
    }
}

/// The methods that S3 needs.
public enum HTTPMethod: String, Hashable, Sendable {
    /// GET
    case get = "GET"
    /// HEAD
    case head = "HEAD"
    /// PUT
    case put = "PUT"
    /// POST
    case post = "POST"
    /// DELETE
    case delete = "DELETE"

    /// Whether the request may change something, so that sending it twice unseen is not allowed.
    public var isMutation: Bool { self != .get && self != .head }
}

/// A header of a request or an answer.
public struct HTTPField: Hashable, Sendable {
    /// Its name; lower case in an answer.
    public var name: String
    /// Its value, on one line.
    public var value: String

    /// Makes a header.
    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A request as it goes out.
public struct HTTPRequest: Sendable {
    /// The method.
    public var method: HTTPMethod
    /// The URL, percent-encoded.
    public var url: String
    /// The headers, beside those that the transport adds (Host, User-Agent, Accept, Content-Length).
    public var headers: [HTTPField]
    /// The body; nil for none. PUT and POST without one send `Content-Length: 0`.
    public var body: BufferSlice?
    /// How many bytes the body of a successful answer (2xx) may have; a larger one fails the request.
    public var answerSizeMax: Int

    /// Makes a request.
    public init(method: HTTPMethod, url: String, headers: [HTTPField], body: BufferSlice?, answerSizeMax: Int) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.answerSizeMax = answerSizeMax
    }
}

/// An answer, received whole.
public struct HTTPResponse: Sendable {
    /// The status code.
    public var status: Int
    /// The headers in the order received, names in lower case.
    public var headers: [HTTPField]
    /// The body; empty when there is none. That of an answer other than 2xx may be cut off after 64 KiB.
    public var body: Buffer

    /// Makes an answer.
    public init(status: Int, headers: [HTTPField], body: Buffer) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The value of the first header of that name.
    ///
    /// - Parameter name: In lower case.
    public func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// Why no whole answer came.
public struct HTTPTransportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// A time limit ended the attempt.
        case timedOut
        /// The connection could not be made.
        case connectFailed
        /// The server's name could not be resolved.
        case hostUnknown
        /// Memory ran out.
        case outOfMemory
        /// The connection broke, or TLS failed.
        case connectionLost
        /// The answer is no HTTP, ended before its length, or is larger than allowed.
        case malformedAnswer
        /// The task was cancelled, or the transport was shut down.
        case cancelled
        /// Something else.
        case other
    }

    /// What kind of failure it is.
    public let kind: Kind
    /// The cause in words, to stand after a colon; never a secret.
    public let description: String
    /// Whether the server may have got the request, or part of it.
    public let mayHaveBeenSent: Bool

    /// Makes an error.
    public init(_ kind: Kind, _ description: String, mayHaveBeenSent: Bool) {
        self.kind = kind
        self.description = description
        self.mayHaveBeenSent = mayHaveBeenSent
    }
}
