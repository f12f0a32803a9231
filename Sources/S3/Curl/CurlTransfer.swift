// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Synchronization

/// One request on its way through curl, and the answer as it comes in.
///
/// Whoever sends it makes it; from ``CurlInbox`` on it belongs to the curl thread, which keeps it in its table until it is
/// finished, because libcurl knows it by its address only.
final class CurlTransfer: @unchecked Sendable {
    // Proof for @unchecked: `request` and `isCancelled` are safe anywhere. `continuation` is written before the transfer is
    // handed over through the inbox's mutex, and everything else is touched by the curl thread alone.

    /// The request.
    let request: HTTPRequest
    /// Whether the caller's task has been cancelled; set from anywhere.
    let isCancelled = Atomic(false)
    /// Who waits; taken by the one call of ``finish(_:)``.
    var continuation: UnsafeContinuation<Result<HTTPResponse, HTTPTransportError>, Never>?

    /// How often curl was about to send the request.
    var attempts = 0
    /// Why a callback ended the transfer; curl itself only says that one did.
    var refusal: HTTPTransportError?
    /// The connection's socket; -1 before there is one.
    var socket: Int32 = -1
    /// When the attempt has to be ended.
    var progress: TransferProgress

    private let pool: BufferPool
    private var status = 0
    private var headers: [HTTPField] = []
    private var headerBytes = 0
    private var body: BufferWriter?
    private var capacity = 0
    private var received = 0

    /// The largest body of an error answer that is kept; more of it is thrown away.
    private static let errorBodyMax = 64 << 10
    /// For how many headers there is room at once; more follows as they arrive.
    private static let usualHeaderCount = 12
    /// The most memory that is taken on the word of a Content-Length; more follows as bytes arrive.
    private static let trustedLengthMax = 16 << 20

    /// Makes a transfer that has not been handed over yet.
    init(_ request: HTTPRequest, pool: BufferPool, progress: TransferProgress) {
        self.request = request
        self.pool = pool
        self.progress = progress
    }

    /// Whether the server may have got the request.
    var mayHaveBeenSent: Bool { attempts > 0 }

    /// Lets curl send the request over a connection that stands now.
    ///
    /// curl repeats a request by itself when a reused connection dies under it. That is welcome for a GET; a mutation may have
    /// been done already, and only ``ObjectStores/RetryingObjectStore`` may decide what to do then.
    ///
    /// - Returns: Whether it may go out.
    func allowAttempt() -> Bool {
        attempts += 1
        guard attempts > 1, request.method.isMutation else { return true }
        attempts -= 1
        refusal = HTTPTransportError(
            .connectionLost, "the connection broke before an answer came", mayHaveBeenSent: true)
        return false
    }

    /// Takes a line of the answer's head, or of its trailer.
    func receiveHeader(_ line: UnsafeRawBufferPointer) {
        headerBytes += line.count
        if line.starts(with: "HTTP/".utf8) {
            // A further head follows after an interim answer (1xx).
            headers = []
            headers.reserveCapacity(Self.usualHeaderCount)
            status = Self.status(line)
            return
        }
        if let header = HTTPField(line: line) { headers.append(header) }
    }

    /// The number in `HTTP/1.1 200 OK`; 0 when there is none.
    private static func status(_ line: UnsafeRawBufferPointer) -> Int {
        let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
        return words.dropFirst().first.flatMap { Int(String(decoding: $0.prefix(3), as: UTF8.self)) } ?? 0
    }

    /// Takes a piece of the answer's body.
    ///
    /// - Returns: Whether the transfer goes on.
    func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let isSuccess = (200..<300).contains(status)
        let limit = isSuccess ? request.answerSizeMax : Self.errorBodyMax
        guard bytes.count <= limit - received else {
            guard isSuccess else {
                append(UnsafeRawBufferPointer(rebasing: bytes.prefix(limit - received)), limit: limit)
                return true
            }
            refusal = HTTPTransportError(
                .malformedAnswer, "the answer is larger than \(limit) bytes", mayHaveBeenSent: true)
            return false
        }
        append(bytes, limit: limit)
        return true
    }

    /// A number that changes whenever a byte of the answer arrives.
    var receivedMark: UInt64 { UInt64(headerBytes + received) }

    /// The answer, once curl has it whole.
    func response() -> HTTPResponse {
        let body = body.take()?.freeze(count: received) ?? pool.writer(count: 0).freeze(count: 0)
        return HTTPResponse(status: status, headers: headers, body: body)
    }

    /// Resumes who waits; exactly once.
    func finish(_ outcome: Result<HTTPResponse, HTTPTransportError>) {
        guard let continuation = continuation.take() else { preconditionFailure("a transfer is finished once") }
        continuation.resume(returning: outcome)
    }

    private func append(_ bytes: UnsafeRawBufferPointer, limit: Int) {
        guard !bytes.isEmpty else { return }
        let needed = received + bytes.count
        if capacity < needed { grow(to: needed, limit: limit) }
        // curl's buffer is its own; this is the one copy of a body.
        body?.withMutableBytes { target in
            UnsafeMutableRawBufferPointer(rebasing: target[received..<needed]).copyMemory(from: bytes)
        }
        received = needed
    }

    /// Takes memory for the announced length at once, or twice as much as there is.
    private func grow(to needed: Int, limit: Int) {
        let announced = headers.last { $0.name == "content-length" }.flatMap { Int($0.value) } ?? 0
        let trusted = min(max(announced, 0), Self.trustedLengthMax, limit)
        capacity = max(needed, trusted, min(2 * received, limit))
        let writer = pool.writer(count: capacity)
        if received > 0, let old = body.take() {
            old.withMutableBytes { source in
                writer.withMutableBytes { target in
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<received]))
                }
            }
        }
        body = consume writer
    }
}
