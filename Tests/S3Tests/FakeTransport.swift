// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Synchronization

@testable import S3

/// A transport that answers as a closure says, and remembers what it was asked.
final class FakeTransport: HTTPTransport {
    private let answer: @Sendable (HTTPRequest) throws(HTTPTransportError) -> HTTPResponse
    private let log = Mutex<[HTTPRequest]>([])

    init(_ answer: @escaping @Sendable (HTTPRequest) throws(HTTPTransportError) -> HTTPResponse) {
        self.answer = answer
    }

    var requests: [HTTPRequest] { log.withLock { $0 } }

    func send(_ request: HTTPRequest) async throws(HTTPTransportError) -> HTTPResponse {
        log.withLock { $0.append(request) }
        return try answer(request)
    }

    var statistics: HTTPTransportStatistics { HTTPTransportStatistics(handlesCreated: 1, handlesReused: 3) }
    func resetStatistics() {}
}

extension HTTPResponse {
    init(_ status: Int, _ headers: [String: String] = [:], text: String = "") {
        self.init(
            status: status, headers: headers.map { HTTPField($0, $1) }.sorted { $0.name < $1.name },
            body: Buffer(copying: Array(text.utf8)))
    }

    /// S3's error document.
    static func error(_ status: Int, _ code: String, _ headers: [String: String] = [:], more: String = "") -> HTTPResponse {
        HTTPResponse(
            status, headers,
            text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>\(code)</Code><Message>Words</Message>\(more)</Error>")
    }
}

extension HTTPRequest {
    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    var text: String { body.map { String(decoding: $0.bytes, as: UTF8.self) } ?? "" }
}
