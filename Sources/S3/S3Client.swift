// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
public import DataPath
public import Logging
public import ObjectStores
internal import Synchronization

/// The objects of one bucket of an S3 service.
///
/// Each verb is one request (a batch delete: one for every 1000 keys, or one for each where the store has no batches; see
/// ``head(_:_:)`` and ``list(prefix:after:limit:_:)`` for the two others), described as an ``S3Request``, signed on the caller's
/// executor and handed to the transport. Nothing is retried here; what an answer means is decided by ``S3Error``.
///
/// - Concurrency: safe from anywhere; as many requests run at once as there are callers.
public final class S3Client: ObjectStore {
    /// From which size on a body is hashed where ``S3Settings/computing`` says, in bytes; less is done before it is handed over.
    private static let computedSizeMin = 16 << 10

    /// Where the bucket is, and what goes along with each request.
    let settings: S3Settings
    /// Lends the memory of bodies.
    let pool: BufferPool
    /// Where it is told that the store lacks a function.
    let logger: Logger
    private let transport: any HTTPTransport
    private let timeline: any Timeline
    private let signer: RequestSigner
    private let counts = Mutex(S3Statistics())
    /// Whether the server has shown that it has no batch delete.
    let hasNoBatchDelete = Atomic<Bool>(false)
    /// The largest object that is read, in bytes.
    let objectSizeMax: Atomic<Int>
    /// Which list request the server knows, once it has shown it.
    let listVersion = Mutex(ListVersion.unknown)

    /// Which version of the list request the server knows.
    enum ListVersion: Sendable {
        /// Nothing has been listed yet.
        case unknown
        /// The present one, with `start-after`.
        case version2
        /// Only the old one, with `marker`.
        case version1
    }

    /// Makes a client; it asks nothing by itself.
    ///
    /// - Parameters:
    ///   - transport: Sends the requests; its owner shuts it down.
    ///   - pool: Lends memory for small bodies.
    ///   - timeline: Dates and times the requests.
    public init(
        settings: S3Settings, transport: any HTTPTransport, pool: BufferPool, timeline: any Timeline, logger: Logger
    ) {
        self.settings = settings
        self.transport = transport
        self.pool = pool
        self.timeline = timeline
        self.logger = logger
        objectSizeMax = Atomic(settings.objectSizeMax)
        signer = RequestSigner(
            endpoint: settings.endpoint, credentials: settings.credentials, version: settings.signatureVersion)
    }

    /// Whether each request names the SHA-256 of its body under its signature.
    var isPayloadSigned: Bool { settings.credentials != nil && settings.signatureVersion == .v4 }

    /// From now on reads no object that is larger than `size` bytes: the answer is broken off there, as malformed.
    ///
    /// For whoever learns how large objects can be only after the first of them was looked at.
    public func limitObjects(to size: Int) { objectSizeMax.store(size, ordering: .relaxed) }

    /// What was counted since the start or the last reset, the transport's counts included.
    public var statistics: S3Statistics {
        var statistics = counts.withLock { $0 }
        let handles = transport.statistics
        statistics.handlesCreated = handles.handlesCreated
        statistics.handlesReused = handles.handlesReused
        return statistics
    }

    /// Sets every count to zero, the transport's too.
    public func resetStatistics() {
        counts.withLock { $0 = S3Statistics() }
        transport.resetStatistics()
    }

    /// Signs and sends a request, and counts its answer.
    ///
    /// - Returns: The answer, whatever its status; but a successful one is S3's and whole.
    /// - Throws: When no such answer came.
    func send(_ request: S3Request, for operation: S3Operation) async throws(ObjectStoreError) -> HTTPResponse {
        let isLarge = (request.body?.count ?? 0) >= Self.computedSizeMin
        let signed = await withTaskExecutorPreference(isLarge ? settings.computing : nil) {
            signer.sign(request, at: timeline.unixTime)
        }
        let start = timeline.now
        let response: HTTPResponse
        do {
            response = try await transport.send(signed)
        } catch {
            counts.withLock { $0.count(error, of: request.method) }
            logger.debug("request failed", metadata: metadata(signed, ["cause": "\(error.description)"]))
            throw operation.error(error)
        }
        counts.withLock { $0.count(status: response.status, to: request.method, after: timeline.now - start) }
        logger.debug("request answered", metadata: metadata(signed, ["status": "\(response.status)"]))
        if (200..<300).contains(response.status) { try check(response, to: request.method, operation) }
        return response
    }

    /// The error that an answer other than the expected one means.
    func refusal(_ response: HTTPResponse, to operation: S3Operation) -> S3Error {
        S3Error(response, to: operation, isSigned: settings.credentials != nil, unixTime: timeline.unixTime)
    }

    /// Refuses a success that is not S3's (a captive portal's page), or not whole.
    private func check(
        _ response: HTTPResponse, to method: HTTPMethod, _ operation: S3Operation
    ) throws(ObjectStoreError) {
        let isPage = response.header("content-type")?.lowercased().hasPrefix("text/html") ?? false
        if isPage, response.header("etag") == nil, response.header("x-amz-request-id") == nil {
            throw operation.error(
                .notS3, "the server answered with a web page; check --baseURL: no S3 seems to be there", outcomeIsUnknown: true)
        }
        guard let length = response.header("content-length"), method != .head else { return }
        guard let expected = Int(length), expected == response.body.count else {
            throw operation.malformed("the answer has \(response.body.count) bytes, not the announced \(length)")
        }
    }

    /// What a log line says about a request; the URL holds no secret, since the signature stands in a header.
    private func metadata(_ request: HTTPRequest, _ more: Logger.Metadata) -> Logger.Metadata {
        var metadata = more
        metadata["method"] = "\(request.method.rawValue)"
        metadata["url"] = "\(request.url)"
        return metadata
    }
}
