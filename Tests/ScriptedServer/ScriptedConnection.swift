// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// One connection of a ``ScriptedServer``: reads requests, writes answers; used by its thread only.
final class ScriptedConnection {
    /// The socket.
    let socket: Int32
    private let number: Int
    private let receiveRate: Int?
    private var unread: [UInt8] = []

    /// Takes a socket over.
    init(_ socket: Int32, number: Int, receiveRate: Int?) {
        self.socket = socket
        self.number = number
        self.receiveRate = receiveRate
        var on: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
        // A client that does not read must not keep the server from stopping.
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Closes the socket.
    func close() { _ = Glibc.close(socket) }

    /// Reads and forgets what there is.
    ///
    /// - Returns: false at the end of the connection.
    func drain() -> Bool { read(atMost: 65536) > 0 }

    /// Reads one request.
    ///
    /// - Parameters:
    ///   - waitReadable: Waits for the socket; false when the server was stopped.
    ///   - pause: Lets time pass; false when the server was stopped.
    /// - Returns: nil at the end of the connection or of the server.
    func receive(waitReadable: () -> Bool, pause: (Duration) -> Bool) -> ReceivedRequest? {
        let end = Array("\r\n\r\n".utf8)
        while unread.firstRange(of: end) == nil {
            guard waitReadable(), read(atMost: 65536) > 0 else { return nil }
        }
        guard let head = unread.firstRange(of: end) else { return nil }
        let lines = String(decoding: unread[..<head.lowerBound], as: UTF8.self).split(separator: "\r\n")
        unread.removeSubrange(..<head.upperBound)
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count == 3 else { return nil }
        var request = ReceivedRequest(method: String(words[0]), target: String(words[1]), body: [], connection: number)
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            request.names.append(line[..<colon].lowercased())
            request.values.append(String(line[line.index(after: colon)...].drop { $0 == " " }))
        }
        let length = request.header("content-length").flatMap { Int($0) } ?? 0
        var sincePause = 0
        while unread.count < length {
            guard waitReadable() else { return nil }
            let received = read(atMost: receiveRate.map { max($0 / 20 - sincePause, 1) } ?? 65536)
            guard received > 0 else { return nil }
            sincePause += received
            guard let receiveRate, sincePause >= receiveRate / 20 else { continue }
            guard pause(.milliseconds(50)) else { return nil }
            sincePause = 0
        }
        request.body = Array(unread[..<length])
        unread.removeFirst(length)
        return request
    }

    /// Writes an answer.
    ///
    /// - Returns: Whether the connection goes on.
    func send(_ answer: ScriptedAnswer, to request: ReceivedRequest, pause: (Duration) -> Bool) -> Bool {
        let body = request.method == "HEAD" ? [] : answer.body
        let whole = head(of: answer) + body
        switch answer.delivery {
        case .whole: return write(whole) && answer.isKeptAlive
        case .truncated(let count):
            _ = write(head(of: answer) + body.prefix(count))
            return false
        case .trickled(let rate):
            guard write(head(of: answer)) else { return false }
            let step = max(rate / 20, 1)
            for start in stride(from: 0, to: body.count, by: step) {
                guard write(Array(body[start..<min(start + step, body.count)])), pause(.milliseconds(50)) else { return false }
            }
            return answer.isKeptAlive
        case .closed, .hung: return false
        case .raw(let bytes):
            _ = write(bytes)
            return false
        }
    }

    private func head(of answer: ScriptedAnswer) -> [UInt8] {
        var text = "HTTP/1.1 \(answer.status) Scripted\r\n"
        let names = answer.headers.map { $0.0.lowercased() }
        let hasBody = answer.status >= 200 && answer.status != 204 && answer.status != 304
        if hasBody, !names.contains("content-length"), !names.contains("transfer-encoding") {
            text += "Content-Length: \(answer.body.count)\r\n"
        }
        if !answer.isKeptAlive, !names.contains("connection") { text += "Connection: close\r\n" }
        for (name, value) in answer.headers { text += "\(name): \(value)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    private func read(atMost count: Int) -> Int {
        var piece = [UInt8](repeating: 0, count: count)
        let received = recv(socket, &piece, count, 0)
        if received > 0 { unread.append(contentsOf: piece[..<received]) }
        return received
    }

    private func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }
}
