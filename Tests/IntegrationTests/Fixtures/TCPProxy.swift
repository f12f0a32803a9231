// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Synchronization

/// A TCP relay on loopback in front of an S3 server, which makes the network bad and writes down each request.
///
/// It knows just enough of HTTP/1.1 without pipelining: bytes of the client after an answer has begun are a new request. A
/// request is in flight from its first byte to the first byte of its answer; `100 Continue` is no answer.
///
/// - Concurrency: safe from any thread.
final class TCPProxy: Sendable {
    /// What the network is like. Changes take effect at once, for open connections, too.
    struct Conditions: Sendable {
        /// Waits this long before the first byte of each answer.
        var answerDelay: Duration = .zero
        /// Bits a second that all connections together may send to the server; nil is no limit.
        var uploadBitsPerSecond: Double?
        /// Bytes of the client are held back for as long as this is set.
        var isStalled = false
        /// What becomes of answers.
        var answers = Answers.untouched
        /// The verb whose answers that happens to; nil is every one.
        var replacedMethod: String?
        /// To how many answers that still happens.
        var replacedCount = Int.max
        /// The part of all requests that meet a ``ProxyFault``, 0 to 1; each kind as often as the others.
        var faultRate = 0.0
        /// Decides which ones.
        var faults = SplitMix(seed: 1)

        /// What becomes of the next request.
        mutating func nextFault() -> ProxyFault? {
            guard faultRate > 0, Double.random(in: 0..<1, using: &faults) < faultRate else { return nil }
            return ProxyFault.allCases.randomElement(using: &faults)
        }

        /// Takes note of one answer, and returns what becomes of it.
        mutating func takeAnswer(to method: Substring) -> Answers {
            guard case .untouched = answers else {
                guard replacedCount > 0, replacedMethod.map({ $0 == method }) ?? true else { return .untouched }
                replacedCount -= 1
                return answers
            }
            return .untouched
        }
    }

    /// What becomes of answers. The request has reached the server in any case.
    enum Answers: Sendable {
        /// They are passed on.
        case untouched
        /// These bytes take the place of each, and the connection ends.
        case replaced(by: String)
        /// So many bytes of each are passed on, the head included, and the connection ends.
        case cut(after: Int)
    }

    /// What the threads share.
    struct State: Sendable {
        var conditions = Conditions()
        var listener: Int32 = -1
        var descriptors: Set<Int32> = []
        var requests: [ProxiedRequest] = []
        var forgottenCount = 0
        var lineIsFreeAt = ContinuousClock.now
        var bytesUp = 0
        var connectionCount = 0
        var isClosed = false
    }

    /// The port to talk to instead of the server's.
    let port: UInt16
    /// The port of the server.
    let serverPort: UInt16
    /// What the threads share.
    let state: Mutex<State>

    /// Starts to relay to a port on loopback.
    ///
    /// - Throws: `FixtureError` when no socket is to be had.
    init(to serverPort: UInt16, conditions: Conditions = Conditions()) throws {
        self.serverPort = serverPort
        let (listener, port) = try Self.listen(port: 0)
        self.port = port
        state = Mutex(State(conditions: conditions, listener: listener))
        acceptConnections(of: listener)
    }

    deinit { close() }

    /// Changes what the network is like.
    func set(_ change: (inout Conditions) -> Void) { state.withLock { change(&$0.conditions) } }

    /// Cuts every connection and refuses new ones.
    func goDown() {
        state.withLock { state in
            // The threads own the descriptors and close them; shutdown wakes them up.
            for descriptor in state.descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
            shutdown(state.listener, Int32(SHUT_RDWR))
            state.listener = -1
        }
    }

    /// Listens again on the same port.
    func comeBack() throws {
        let (listener, _) = try Self.listen(port: port)
        state.withLock { $0.listener = listener }
        acceptConnections(of: listener)
    }

    /// Ends everything.
    func close() {
        state.withLock { $0.isClosed = true }
        goDown()
    }

    /// The requests since the start or the last ``forget()``.
    var requests: [ProxiedRequest] { state.withLock { $0.requests } }

    /// How many requests have no answer yet.
    var inFlight: Int { requests.count { $0.answered == nil } }

    /// Bytes sent to the server since the start or the last ``forget()``, heads included.
    var bytesUp: Int { state.withLock { $0.bytesUp } }

    /// How many requests have met a fault since the start or the last ``forget()``.
    var faultCount: Int { requests.count { $0.fault != nil } }

    /// How many connections were made since the start.
    var connectionCount: Int { state.withLock { $0.connectionCount } }

    /// Forgets all requests so far.
    func forget() {
        state.withLock { state in
            state.forgottenCount += state.requests.count
            state.requests.removeAll()
            state.bytesUp = 0
        }
    }

    private func acceptConnections(of listener: Int32) {
        Thread.detachNewThread { [weak self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0, let self else { break }
                self.state.withLock { $0.connectionCount += 1 }
                ProxyConnection.serve(client, of: self)
            }
            Glibc.close(listener)
        }
    }

    private static func listen(port: UInt16) throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        // Small, so that the client feels a slow line: what the kernel has buffered counts as sent.
        var small: Int32 = 32_768
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &small, socklen_t(MemoryLayout<Int32>.size))
        var address = loopback(port: port)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        }
        guard isBound == 0, Glibc.listen(descriptor, 512) == 0 else {
            Glibc.close(descriptor)
            throw FixtureError("cannot listen on 127.0.0.1:\(port): \(String(cString: strerror(errno)))")
        }
        var actual = size
        withUnsafeMutablePointer(to: &address) {
            _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &actual) }
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    /// The address of a port on loopback.
    static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}
