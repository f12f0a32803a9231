// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Synchronization

/// One connection of a client through a ``TCPProxy``, with a thread for each direction.
///
/// - Concurrency: the two threads share only what the mutex holds.
final class ProxyConnection: Sendable {
    private let proxy: TCPProxy
    private let client: Int32
    private let server: Int32
    private let state = Mutex(State())

    private struct State {
        /// The number of the request that waits for its answer, counted from the proxy's start.
        var awaited: Int?
        /// What goes wrong with that request.
        var fault: ProxyFault?
        var threadCount = 2
    }

    private init(proxy: TCPProxy, client: Int32, server: Int32) {
        self.proxy = proxy
        self.client = client
        self.server = server
    }

    /// Connects to the server and relays until either side ends.
    static func serve(_ client: Int32, of proxy: TCPProxy) {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        _ = fcntl(client, F_SETFD, FD_CLOEXEC)
        for descriptor in [client, server] {
            var one: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = TCPProxy.loopback(port: proxy.serverPort)
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        let isWanted = proxy.state.withLock { state in
            guard isConnected, state.listener >= 0 else { return false }
            state.descriptors.formUnion([client, server])
            return true
        }
        guard isWanted else {
            close(client)
            close(server)
            return
        }
        let connection = ProxyConnection(proxy: proxy, client: client, server: server)
        Thread.detachNewThread { connection.relay(from: client, to: server, pass: connection.passUp) }
        Thread.detachNewThread { connection.relay(from: server, to: client, pass: connection.passDown) }
    }

    private func relay(from source: Int32, to target: Int32, pass: (UnsafeRawBufferPointer) -> Bool) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = recv(source, buffer.baseAddress, buffer.count, 0)
            guard count > 0 else { break }
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            guard pass(bytes) else { break }
        }
        shutdown(source, Int32(SHUT_RDWR))
        shutdown(target, Int32(SHUT_RDWR))
        let isLast = state.withLock { state in
            state.threadCount -= 1
            return state.threadCount == 0
        }
        if isLast { end() }
    }

    /// Bytes of the client: notes a new request, keeps to the speed of the line, waits while the network is stalled.
    private func passUp(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let isNew = state.withLock { $0.awaited == nil }
        if isNew {
            let line = String(decoding: bytes.prefix { $0 != 13 }, as: UTF8.self)
            let (index, fault) = proxy.state.withLock { state in
                let fault = state.conditions.nextFault()
                state.requests.append(ProxiedRequest(line: line, began: .now, fault: fault))
                return (state.forgottenCount + state.requests.count - 1, fault)
            }
            state.withLock { state in
                state.awaited = index
                state.fault = fault
            }
        }
        switch state.withLock({ $0.fault }) {
        case .resetBefore: return reset()
        case .silentBefore: return true
        case .internalError, .slowDown, .resetAfter, .silentAfter, nil: break
        }
        let end: ContinuousClock.Instant? = proxy.state.withLock { state in
            state.bytesUp += bytes.count
            guard let speed = state.conditions.uploadBitsPerSecond else { return nil }
            state.lineIsFreeAt = max(state.lineIsFreeAt, .now) + .seconds(Double(bytes.count) * 8 / speed)
            return state.lineIsFreeAt
        }
        // The line that is played here takes real time: kernel, curl and daemon on its ends have no other clock.
        if let end { Self.sleep(until: end) }
        while proxy.state.withLock({ $0.conditions.isStalled && $0.listener >= 0 }) { usleep(5_000) }
        return proxy.state.withLock { $0.listener >= 0 } && Self.send(bytes, to: server)
    }

    /// Bytes of the server: the first ones of an answer are delayed, or replaced.
    ///
    /// - Returns: Whether the connection goes on.
    private func passDown(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !bytes.starts(with: Array("HTTP/1.1 100".utf8)), state.withLock({ $0.awaited != nil }) else {
            return Self.send(bytes, to: client)
        }
        let delay = proxy.state.withLock { $0.conditions.answerDelay }
        if delay > .zero { Self.sleep(until: .now + delay) }
        switch state.withLock({ $0.fault }) {
        case .resetAfter: return reset()
        // The request stays unanswered until the client gives up.
        case .silentAfter: return true
        case .internalError, .slowDown, .resetBefore, .silentBefore, nil: break
        }
        if let text = state.withLock({ $0.fault?.answer }) {
            noteAnswer(isThere: false)
            send(text)
            return false
        }
        switch noteAnswer(isThere: true) {
        case .untouched: return Self.send(bytes, to: client)
        case .cut(let count): _ = Self.send(UnsafeRawBufferPointer(rebasing: bytes.prefix(count)), to: client)
        case .replaced(let text): send(text)
        }
        return false
    }

    private func send(_ text: String) {
        var text = text
        text.withUTF8 { _ = Self.send(UnsafeRawBufferPointer($0), to: client) }
    }

    /// Sends the client RST instead of FIN.
    ///
    /// - Returns: That the connection does not go on.
    /// - Source: 'man 2 connect': AF_UNSPEC dissolves an association.
    private func reset() -> Bool {
        var nowhere = sockaddr()
        nowhere.sa_family = sa_family_t(AF_UNSPEC)
        _ = connect(client, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
        return false
    }

    @discardableResult
    private func noteAnswer(isThere: Bool) -> TCPProxy.Answers {
        let index = state.withLock { state in
            defer { state.awaited = nil }
            return state.awaited
        }
        guard let index else { return .untouched }
        return proxy.state.withLock { state in
            let position = index - state.forgottenCount
            guard position >= 0 else { return .untouched }
            state.requests[position].answered = .now
            guard isThere else { return .untouched }
            return state.conditions.takeAnswer(to: state.requests[position].method)
        }
    }

    private func end() {
        noteAnswer(isThere: false)
        proxy.state.withLock { $0.descriptors.subtract([client, server]) }
        close(client)
        close(server)
    }

    private static func send(_ bytes: UnsafeRawBufferPointer, to target: Int32) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.send(target, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            guard count > 0 else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
        return true
    }

    private static func sleep(until end: ContinuousClock.Instant) {
        let rest = end - ContinuousClock.now
        if rest > .zero { usleep(UInt32(rest / .microseconds(1))) }
    }
}
