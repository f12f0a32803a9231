// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Glibc
internal import Synchronization

/// An HTTP/1.1 server on 127.0.0.1 that answers as a test's closure says: what a real S3 never answers, at any pace.
///
/// ```
///   let server = try ScriptedServer { request in ScriptedAnswer(200, text: "hello") }
///   defer { server.stop() }
///   ... server.baseURL ... server.requests
/// ```
/// One thread accepts, and one serves each connection. It understands what libcurl sends: a head, and a body with a
/// Content-Length.
///
/// - Concurrency: safe from anywhere. The closure is called on the connections' threads, one call at a time for each.
public final class ScriptedServer: Sendable {
    /// The server could not be started; names the system call.
    public struct CannotStart: Error, Hashable, Sendable {
        /// What failed.
        public let step: String
        /// Why.
        public let errno: Int32
    }

    /// The port on 127.0.0.1.
    public let port: UInt16

    private let listener: Int32
    /// Readable from ``stop()`` on; every wait includes it.
    private let stopEvent: Int32
    private let handler: @Sendable (ReceivedRequest) -> ScriptedAnswer
    private let receiveRate: Int?

    private struct State {
        var requests: [ReceivedRequest] = []
        var connectionCount = 0
        var threads: [pthread_t] = []
        var isStopped = false
    }
    private let state = Mutex(State())

    /// Starts a server on a free port.
    ///
    /// - Parameters:
    ///   - receiveRate: How many bytes of a body are read per second; nil for as fast as they come.
    ///   - handler: Says what to do about a request that has been read whole.
    /// - Throws: When the system refuses a socket or a thread.
    public init(
        receiveRate: Int? = nil, _ handler: @escaping @Sendable (ReceivedRequest) -> ScriptedAnswer
    ) throws(CannotStart) {
        self.handler = handler
        self.receiveRate = receiveRate
        stopEvent = eventfd(0, Int32(EFD_CLOEXEC))
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard stopEvent >= 0, listener >= 0 else { throw CannotStart(step: "socket", errno: errno) }
        if receiveRate != nil {
            // Small, so that the client feels the pace.
            var size: Int32 = 32768
            setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, 4)
        }
        guard let port = Self.bind(listener) else { throw CannotStart(step: "bind", errno: errno) }
        self.port = port
        startThread { server in server.acceptAll() }
    }

    deinit {
        close(listener)
        close(stopEvent)
    }

    /// `http://127.0.0.1:PORT/`
    public var baseURL: String { "http://127.0.0.1:\(port)/" }

    /// What was received so far, in the order of arrival.
    public var requests: [ReceivedRequest] { state.withLock { $0.requests } }

    /// How many connections were made.
    public var connectionCount: Int { state.withLock { $0.connectionCount } }

    /// Closes everything and waits for all threads; a second call does nothing.
    public func stop() {
        state.withLock { $0.isStopped = true }
        var one: UInt64 = 1
        _ = write(stopEvent, &one, 8)
        while let thread = state.withLock({ $0.threads.popLast() }) { pthread_join(thread, nil) }
    }

    private static func bind(_ listener: Int32) -> UInt16? {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { plain in
                Glibc.bind(listener, plain, size) == 0 && listen(listener, 512) == 0
                    && getsockname(listener, plain, &size) == 0
            }
        }
        return isBound ? UInt16(bigEndian: address.sin_port) : nil
    }

    private func acceptAll() {
        while waitReadable(listener) {
            let connection = accept(listener, nil, nil)
            guard connection >= 0 else { continue }
            let number = state.withLock { state in
                defer { state.connectionCount += 1 }
                return state.connectionCount
            }
            startThread { server in
                server.serve(ScriptedConnection(connection, number: number, receiveRate: server.receiveRate))
            }
        }
    }

    private func serve(_ connection: ScriptedConnection) {
        defer { connection.close() }
        let socket = connection.socket
        while let request = connection.receive(
            waitReadable: { self.waitReadable(socket) }, pause: { self.pause($0) })
        {
            state.withLock { $0.requests.append(request) }
            let answer = handler(request)
            guard answer.delay == .zero || pause(answer.delay) else { return }
            guard connection.send(answer, to: request, pause: { self.pause($0) }) else {
                if answer.delivery == .hung { awaitEnd(of: connection) }
                return
            }
        }
    }

    /// Returns when the client closes the connection, or the server stops.
    private func awaitEnd(of connection: ScriptedConnection) {
        while waitReadable(connection.socket), connection.drain() {}
    }

    /// Waits for time to pass.
    ///
    /// - Returns: false when the server was stopped.
    private func pause(_ duration: Duration) -> Bool {
        !isReadable(stopEvent, for: duration)
    }

    private func isReadable(_ descriptor: Int32, for duration: Duration) -> Bool {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, Int32((duration / .milliseconds(1)).rounded(.up))) > 0
    }

    /// Waits until a descriptor can be read.
    ///
    /// - Returns: false when the server was stopped.
    private func waitReadable(_ descriptor: Int32) -> Bool {
        var polls = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: stopEvent, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            let count = poll(&polls, 2, -1)
            if count < 0, errno == EINTR { continue }
            return count > 0 && polls[1].revents == 0
        }
    }

    private final class ThreadStart {
        let server: ScriptedServer
        let body: (ScriptedServer) -> Void
        init(_ server: ScriptedServer, _ body: @escaping (ScriptedServer) -> Void) {
            self.server = server
            self.body = body
        }
    }

    private func startThread(_ body: @escaping (ScriptedServer) -> Void) {
        let start = Unmanaged.passRetained(ThreadStart(self, body))
        let isStarted = state.withLock { state in
            guard !state.isStopped else { return false }
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    let start = Unmanaged<ThreadStart>.fromOpaque(context).takeRetainedValue()
                    start.body(start.server)
                    return nil
                }, start.toOpaque())
            precondition(status == 0, "no more threads")
            state.threads.append(thread)
            return true
        }
        if !isStarted { start.release() }
    }
}
