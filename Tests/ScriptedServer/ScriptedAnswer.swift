// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A request as a ``ScriptedServer`` received it.
public struct ReceivedRequest: Hashable, Sendable {
    /// The method: `GET`.
    public var method: String
    /// The request's target as it came, query included, not decoded: `/bucket/key?list-type=2`.
    public var target: String
    /// The headers in their order, names in lower case.
    public var headers: [(name: String, value: String)] { names.indices.map { (names[$0], values[$0]) } }
    /// The body.
    public var body: [UInt8]
    /// Which connection it came over, counted from 0.
    public var connection: Int

    var names: [String] = []
    var values: [String] = []

    /// The target without its query.
    public var path: String { String(target.prefix { $0 != "?" }) }

    /// What follows the `?`, not decoded; empty when there is none.
    public var query: String { target.firstIndex(of: "?").map { String(target[target.index(after: $0)...]) } ?? "" }

    /// The value of the first header of that name.
    ///
    /// - Parameter name: In lower case.
    public func header(_ name: String) -> String? { names.firstIndex(of: name).map { values[$0] } }
}

/// What a ``ScriptedServer`` does about a request.
public struct ScriptedAnswer: Sendable {
    /// How the answer is delivered.
    public enum Delivery: Hashable, Sendable {
        /// At once and whole.
        case whole
        /// Only so many bytes of the body, under the Content-Length of all of it; then the connection is closed.
        case truncated(after: Int)
        /// The head at once, the body at so many bytes per second.
        case trickled(bytesPerSecond: Int)
        /// Nothing is sent, and the connection is closed.
        case closed
        /// Nothing is sent, and the connection stays open until the client or the server ends it.
        case hung
        /// These bytes instead of an answer; then the connection is closed.
        case raw([UInt8])
    }

    /// The status code.
    public var status: Int
    /// The headers beside Content-Length and Connection; one given here replaces either.
    public var headers: [(String, String)]
    /// The body; that of a HEAD is not sent, but its length is announced.
    public var body: [UInt8]
    /// How long to wait before the first byte.
    public var delay: Duration
    /// How the answer is delivered.
    public var delivery: Delivery
    /// Whether the connection stays open for the next request.
    public var isKeptAlive: Bool

    /// Makes an answer.
    public init(
        _ status: Int, headers: [(String, String)] = [], body: [UInt8] = [], delay: Duration = .zero,
        delivery: Delivery = .whole, isKeptAlive: Bool = true
    ) {
        self.status = status
        self.headers = headers
        self.body = body
        self.delay = delay
        self.delivery = delivery
        self.isKeptAlive = isKeptAlive
    }

    /// Makes an answer whose body is text.
    public init(_ status: Int, headers: [(String, String)] = [], text: String) {
        self.init(status, headers: headers, body: Array(text.utf8))
    }
}
