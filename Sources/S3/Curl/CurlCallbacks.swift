// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCurl
internal import Glibc
internal import Logging

// The functions that curl calls, all on the curl thread. They stand alone, outside of any actor: a closure written where code
// is isolated would be isolated, too, and trap on a foreign thread.

/// CURLMOPT_SOCKETFUNCTION; its context is the ``CurlThread``.
func curlSocketChanged(
    _ easy: UnsafeMutableRawPointer?, _ socket: curl_socket_t, _ what: Int32, _ context: UnsafeMutableRawPointer?,
    _ socketContext: UnsafeMutableRawPointer?
) -> Int32 {
    guard let context else { return -1 }
    Unmanaged<CurlThread>.fromOpaque(context).takeUnretainedValue().socketChanged(easy, socket, what)
    return 0
}

/// CURLMOPT_TIMERFUNCTION; its context is the ``CurlThread``.
func curlTimerChanged(_ multi: UnsafeMutableRawPointer?, _ milliseconds: Int, _ context: UnsafeMutableRawPointer?) -> Int32 {
    guard let context else { return -1 }
    Unmanaged<CurlThread>.fromOpaque(context).takeUnretainedValue().timerChanged(milliseconds)
    return 0
}

/// CURLOPT_HEADERFUNCTION: one line; its context is the ``CurlTransfer``.
func curlReceivedHeader(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let transfer = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
    transfer.receiveHeader(UnsafeRawBufferPointer(start: bytes, count: size * count))
    return size * count
}

/// CURLOPT_WRITEFUNCTION: a piece of the body; its context is the ``CurlTransfer``. Fewer bytes than given end the transfer.
func curlReceivedBody(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let transfer = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
    let piece = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return transfer.receiveBody(piece) ? size * count : failedWrite
}

/// What CURLOPT_WRITEFUNCTION returns to fail: any count but the given one; also right for an empty piece.
private let failedWrite = Int(UInt32.max)

/// CURLOPT_PREREQFUNCTION: the connection stands, and the request is about to go out; its context is the ``CurlTransfer``.
func curlAboutToSend(
    _ context: UnsafeMutableRawPointer?, _ peer: UnsafeMutablePointer<CChar>?, _ own: UnsafeMutablePointer<CChar>?,
    _ peerPort: Int32, _ ownPort: Int32
) -> Int32 {
    guard let context else { return CURL_PREREQFUNC_ABORT }
    let transfer = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
    return transfer.allowAttempt() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
}

/// CURLOPT_SOCKOPTFUNCTION: a socket was made; its context is the type of service plus one as a number, or nil for none.
func curlMadeSocket(_ context: UnsafeMutableRawPointer?, _ socket: curl_socket_t, _ purpose: curlsocktype) -> Int32 {
    // No child process shall keep a connection open.
    guard fcntl(socket, F_SETFD, FD_CLOEXEC) == 0 else { return CURL_SOCKOPT_ERROR }
    guard let context else { return CURL_SOCKOPT_OK }
    var value = Int32(Int(bitPattern: context) - 1)
    // One of the two fits the socket's family. It is a wish to routers, so a failure does not matter.
    setsockopt(socket, Int32(IPPROTO_IP), IP_TOS, &value, 4)
    setsockopt(socket, Int32(IPPROTO_IPV6), IPV6_TCLASS, &value, 4)
    return CURL_SOCKOPT_OK
}

/// CURLOPT_DEBUGFUNCTION: something to log; its context is the handle's ``CurlTrace``.
func curlTraced(
    _ easy: UnsafeMutableRawPointer?, _ type: curl_infotype, _ bytes: UnsafeMutablePointer<CChar>?, _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let context, type == CURLINFO_TEXT || type == CURLINFO_HEADER_IN || type == CURLINFO_HEADER_OUT else { return 0 }
    let trace = Unmanaged<CurlTrace>.fromOpaque(context).takeUnretainedValue()
    let text = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    trace.log(type == CURLINFO_HEADER_IN ? "<" : type == CURLINFO_HEADER_OUT ? ">" : "*", text)
    return 0
}

/// Writes HTTP traffic to the log, line by line, without secrets.
final class CurlTrace {
    private let logger: Logger

    /// Makes a trace.
    init(_ logger: Logger) { self.logger = logger }

    /// Logs what curl reports.
    ///
    /// - Parameter direction: `>` sent, `<` received, `*` curl's own remark.
    func log(_ direction: String, _ text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            logger.debug("http", metadata: ["line": "\(direction) \(SecretMask.mask(line))"])
        }
    }
}
