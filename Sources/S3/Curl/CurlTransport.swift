// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCurl
public import DataPath
internal import Glibc
public import Logging
internal import Synchronization

/// HTTP through libcurl: all transfers on one thread of its own.
///
/// ```
///   caller's task --CurlTransfer--> CurlInbox --eventfd--> CurlThread: epoll + curl_multi_socket_action
///        ^                                                     |
///        +---------------- continuation, resumed once ---------+
/// ```
/// Callers hash and sign before; the thread only moves bytes, each once between curl's buffer and the pool's.
///
/// - Concurrency: safe from anywhere.
/// - Source: 'man 3 curl_multi_socket_action'.
public final class CurlTransport: HTTPTransport {
    /// The thread could not be started; names the system call that failed.
    public struct CannotStart: Error, Hashable, Sendable, CustomStringConvertible {
        /// What failed.
        public let step: String
        /// Why.
        public let errno: Int32

        /// `cannot start the HTTP client: eventfd: Too many open files`.
        public var description: String { "cannot start the HTTP client: \(step): \(String(cString: strerror(errno)))" }
    }

    private let settings: TransportSettings
    private let pool: BufferPool
    private let timeline: any Timeline
    private let inbox: CurlInbox
    private let counts: CurlCounts
    /// The thread until it has been joined.
    private let thread: Mutex<pthread_t?>

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - pool: Lends the memory that answers are received into.
    ///   - timeline: Measures the time limits; the thread sleeps in epoll by the system's clock.
    /// - Throws: When the system has no more descriptors or threads.
    public init(
        settings: TransportSettings, pool: BufferPool, timeline: any Timeline, logger: Logger
    ) throws(CannotStart) {
        Self.initialiseLibrary
        self.settings = settings
        self.pool = pool
        self.timeline = timeline
        inbox = try CurlInbox()
        counts = CurlCounts()
        let engine = try CurlThread(settings: settings, inbox: inbox, counts: counts, timeline: timeline, logger: logger)
        thread = Mutex(try startCurlThread(engine))
    }

    deinit { shutdown() }

    /// Sends a request; see ``HTTPTransport/send(_:)``.
    ///
    /// - Throws: `.cancelled` also when the transport was shut down.
    public func send(_ request: HTTPRequest) async throws(HTTPTransportError) -> HTTPResponse {
        let progress = TransferProgress(
            start: timeline.now, timeout: settings.timeout, stallTimeout: settings.stallTimeout)
        let transfer = CurlTransfer(request, pool: pool, progress: progress)
        let inbox = inbox
        let outcome = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                transfer.continuation = continuation
                if !inbox.start(transfer) { transfer.finish(.failure(CurlThread.shutDown(mayHaveBeenSent: false))) }
            }
        } onCancel: {
            inbox.cancel(transfer)
        }
        return try outcome.get()
    }

    /// What was counted since the start or the last reset.
    public var statistics: HTTPTransportStatistics { counts.statistics }

    /// Sets every count to zero.
    public func resetStatistics() { counts.reset() }

    /// Ends the thread and waits for its end; what is in flight fails with `.cancelled`. A second call does nothing.
    public func shutdown() {
        let thread = thread.withLock { $0.take() }
        guard let thread else { return }
        inbox.stop()
        // The last reference may go away on the curl thread itself, when it resumes a continuation; it cannot join itself.
        if pthread_equal(thread, pthread_self()) != 0 {
            pthread_detach(thread)
        } else {
            pthread_join(thread, nil)
        }
    }

    /// libcurl wants this once in a process, before anything else; it is never undone.
    private static let initialiseLibrary: Void = {
        let status = curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        precondition(status == CURLE_OK, "libcurl cannot be initialised")
    }()
}

/// The transport's counts, shared with its thread.
final class CurlCounts: Sendable {
    private let created = Atomic<UInt64>(0)
    private let reused = Atomic<UInt64>(0)

    /// Counts a transfer's handle.
    func countHandle(isNew: Bool) {
        if isNew { created.add(1, ordering: .relaxed) } else { reused.add(1, ordering: .relaxed) }
    }

    /// The counts.
    var statistics: HTTPTransportStatistics {
        HTTPTransportStatistics(
            handlesCreated: created.load(ordering: .relaxed), handlesReused: reused.load(ordering: .relaxed))
    }

    /// Sets them to zero.
    func reset() {
        created.store(0, ordering: .relaxed)
        reused.store(0, ordering: .relaxed)
    }
}

/// Starts the thread, with the engine as its own.
///
/// - Throws: When the system has no more threads.
private func startCurlThread(_ engine: CurlThread) throws(CurlTransport.CannotStart) -> pthread_t {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(engine)
    let status = pthread_create(
        &thread, nil,
        { context in
            guard let context else { preconditionFailure("pthread_create passes its argument on") }
            Unmanaged<CurlThread>.fromOpaque(context).takeRetainedValue().run()
            return nil
        }, context.toOpaque())
    guard status == 0 else {
        context.release()
        throw CurlTransport.CannotStart(step: "pthread_create", errno: status)
    }
    return thread
}
