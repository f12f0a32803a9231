// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What can go wrong with a single request on its way through a ``TCPProxy``.
enum ProxyFault: Sendable, CaseIterable {
    /// The store does it, and the answer says 500 InternalError.
    case internalError
    /// The store does it, and the answer says 503 SlowDown, with Retry-After.
    case slowDown
    /// The connection is reset before the store sees anything.
    case resetBefore
    /// The store does it, and the connection is reset instead of an answer.
    case resetAfter
    /// Nothing reaches the store, and no answer comes.
    case silentBefore
    /// The store does it, and no answer comes.
    case silentAfter

    /// The bytes that take the place of the answer, if there are any.
    var answer: String? {
        switch self {
        case .internalError: Self.answer("500 Internal Server Error", code: "InternalError", head: "")
        case .slowDown: Self.answer("503 Slow Down", code: "SlowDown", head: "Retry-After: 1\r\n")
        case .resetBefore, .resetAfter, .silentBefore, .silentAfter: nil
        }
    }

    private static func answer(_ status: String, code: String, head: String) -> String {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>\(code)</Code><Message>as asked</Message></Error>"
        return "HTTP/1.1 \(status)\r\nContent-Type: application/xml\r\nContent-Length: \(body.utf8.count)\r\n\(head)"
            + "Connection: close\r\n\r\n\(body)"
    }
}
