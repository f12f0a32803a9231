// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import S3
import ScriptedServer
import Synchronization
import Testing

/// A curl transport and a scripted server to talk to; ``stop()`` ends both.
struct CurlFixture {
    let server: ScriptedServer
    let transport: CurlTransport

    init(
        receiveRate: Int? = nil, logger: Logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
        _ change: (inout TransportSettings) -> Void = { _ in },
        _ answer: @escaping @Sendable (ReceivedRequest) -> ScriptedAnswer
    ) throws {
        server = try ScriptedServer(receiveRate: receiveRate, answer)
        transport = try Self.transport(logger: logger, change)
    }

    static func transport(
        logger: Logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
        _ change: (inout TransportSettings) -> Void = { _ in }
    ) throws -> CurlTransport {
        // Far longer than any test takes, so that only what a test sets can end an attempt.
        var settings = TransportSettings(timeout: .seconds(60), userAgent: "s3backer/test")
        // Between two requests of a test there may be minutes, while hundreds of others have the processors.
        settings.idleConnectionMax = .seconds(86_400)
        change(&settings)
        return try CurlTransport(
            settings: settings, pool: BufferPool(retainedBytesMax: 1 << 20), timeline: SystemTimeline(), logger: logger)
    }

    func stop() {
        transport.shutdown()
        server.stop()
    }

    func send(
        _ method: HTTPMethod, _ path: String = "b/k", headers: [HTTPField] = [], body: [UInt8]? = nil, sizeMax: Int = 1 << 30
    ) async throws(HTTPTransportError) -> HTTPResponse {
        try await transport.send(
            HTTPRequest(
                method: method, url: server.baseURL + path, headers: headers,
                body: body.map { BufferSlice(Buffer(copying: $0)) }, answerSizeMax: sizeMax))
    }

    /// The error that a request must end with.
    func failure(
        _ method: HTTPMethod, _ path: String = "b/k", body: [UInt8]? = nil, sizeMax: Int = 1 << 30
    ) async throws -> HTTPTransportError {
        do {
            let response = try await send(method, path, body: body, sizeMax: sizeMax)
            Issue.record("an error was due, not \(response.status)")
            throw S3ClientFixture.MissingError()
        } catch let error as HTTPTransportError {
            return error
        }
    }
}

/// A log handler that keeps its lines.
final class KeptLog: Sendable {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self) }
        logger.logLevel = .trace
        return logger
    }

    private struct Handler: LogHandler {
        let log: KeptLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let line = "\(event.message) \(event.metadata ?? [:])"
            log.kept.withLock { $0.append(line) }
        }
    }
}
