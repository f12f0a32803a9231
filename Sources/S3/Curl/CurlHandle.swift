// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCurl
internal import DataPath
internal import Glibc
internal import Logging

/// One of curl's easy handles with what it refers to; used by the curl thread only.
///
/// - Source: 'man 3 curl_easy_setopt' for every option.
final class CurlHandle {
    /// curl's handle.
    let easy: UnsafeMutableRawPointer
    /// Where curl writes what went wrong.
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private var headers: UnsafeMutablePointer<curl_slist>?
    private var trace: CurlTrace?

    /// How many bytes curl moves at a time; below 64 KiB costs CPU, above 128 KiB gains nothing.
    private static let bufferSize = 128 << 10

    /// Makes a handle.
    ///
    /// - Returns: nil when memory runs out.
    init?() {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
    }

    /// Gives the handle back to curl; nothing may use it after.
    func destroy() { curl_easy_cleanup(easy) }

    deinit {
        curl_slist_free_all(headers)
        errorText.deallocate()
    }

    /// Forgets the last transfer; the connections stay with the multi.
    func clear() {
        curl_easy_reset(easy)
        curl_slist_free_all(headers)
        headers = nil
        trace = nil
    }

    /// Prepares the handle for a transfer, which must outlive its stay with curl.
    ///
    /// - Parameter isDumped: Where the traffic is logged; nil for nowhere.
    func configure(for transfer: CurlTransfer, _ settings: TransportSettings, isDumped logger: Logger?) {
        setRequest(transfer.request)
        setCallbacks(transfer)
        setConnection(settings)
        setLimits(settings)
        guard let logger else { return }
        let trace = CurlTrace(logger)
        self.trace = trace
        curl_easy_set_trace_function(easy, curlTraced)
        curl_easy_set_pointer(easy, CURLOPT_DEBUGDATA, Unmanaged.passUnretained(trace).toOpaque())
        curl_easy_set_long(easy, CURLOPT_VERBOSE, 1)
    }

    private func setRequest(_ request: HTTPRequest) {
        curl_easy_set_text(easy, CURLOPT_URL, request.url)
        // A key may hold /../, which names something.
        curl_easy_set_long(easy, CURLOPT_PATH_AS_IS, 1)
        switch request.method {
        case .get: curl_easy_set_long(easy, CURLOPT_HTTPGET, 1)
        case .head: curl_easy_set_long(easy, CURLOPT_NOBODY, 1)
        case .delete: curl_easy_set_text(easy, CURLOPT_CUSTOMREQUEST, "DELETE")
        case .put, .post:
            // Sent from the caller's memory, which the request in the transfer keeps alive.
            let body = request.body?.unsafeBytes
            curl_easy_set_long(easy, CURLOPT_POST, 1)
            curl_easy_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body?.count ?? 0))
            let start = body?.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) }
            curl_easy_set_pointer(easy, CURLOPT_POSTFIELDS, start ?? UnsafeMutableRawPointer(errorText))
            curl_easy_set_text(easy, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
        }
        for header in request.headers {
            // `Name:` would remove a header, `Name;` sends an empty one.
            add(header.value.isEmpty ? "\(header.name);" : "\(header.name): \(header.value)")
        }
        // No Expect: 100-continue, which costs a round trip, and no type that curl would make up.
        add("Expect:")
        if request.body != nil, !request.headers.contains(where: { $0.name == "content-type" }) { add("Content-Type:") }
        curl_easy_set_list(easy, CURLOPT_HTTPHEADER, headers)
    }

    private func add(_ header: String) {
        guard let longer = curl_slist_append(headers, header) else { fatalError("out of memory: curl_slist_append") }
        headers = longer
    }

    private func setCallbacks(_ transfer: CurlTransfer) {
        // Proof for passUnretained: the thread's table owns the transfer until its handle has been taken from curl.
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        curl_easy_set_data_function(easy, CURLOPT_WRITEFUNCTION, curlReceivedBody)
        curl_easy_set_pointer(easy, CURLOPT_WRITEDATA, context)
        curl_easy_set_data_function(easy, CURLOPT_HEADERFUNCTION, curlReceivedHeader)
        curl_easy_set_pointer(easy, CURLOPT_HEADERDATA, context)
        curl_easy_set_prereq_function(easy, curlAboutToSend)
        curl_easy_set_pointer(easy, CURLOPT_PREREQDATA, context)
        errorText[0] = 0
        curl_easy_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText)
    }

    private func setConnection(_ settings: TransportSettings) {
        curl_easy_set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        curl_easy_set_long(easy, CURLOPT_NOSIGNAL, 1)
        curl_easy_set_text(easy, CURLOPT_USERAGENT, settings.userAgent)
        curl_easy_set_long(
            easy, CURLOPT_HTTP_VERSION,
            settings.isHTTP11Only ? Int(CURL_HTTP_VERSION_1_1) : Int(CURL_HTTP_VERSION_2TLS))
        curl_easy_set_long(easy, CURLOPT_TCP_KEEPALIVE, 1)
        curl_easy_set_long(easy, CURLOPT_TCP_KEEPIDLE, 200)
        curl_easy_set_long(easy, CURLOPT_TCP_KEEPINTVL, 60)
        if !settings.reusesConnections {
            curl_easy_set_long(easy, CURLOPT_FRESH_CONNECT, 1)
            curl_easy_set_long(easy, CURLOPT_FORBID_REUSE, 1)
        }
        if let file = settings.caFile { curl_easy_set_text(easy, CURLOPT_CAINFO, file) }
        if settings.isInsecure { curl_easy_set_long(easy, CURLOPT_SSL_VERIFYPEER, 0) }
        curl_easy_set_sockopt_function(easy, curlMadeSocket)
        let service = settings.typeOfService.map { UnsafeMutableRawPointer(bitPattern: Int($0) + 1) } ?? nil
        curl_easy_set_pointer(easy, CURLOPT_SOCKOPTDATA, service)
    }

    private func setLimits(_ settings: TransportSettings) {
        let connect = max(min(settings.connectTimeout, settings.timeout), .milliseconds(1)) / .milliseconds(1)
        curl_easy_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, Int(connect))
        curl_easy_set_long(easy, CURLOPT_MAXAGE_CONN, Int(max(settings.idleConnectionMax, .seconds(1)) / .seconds(1)))
        curl_easy_set_long(easy, CURLOPT_BUFFERSIZE, Self.receiveSize(settings))
        curl_easy_set_long(easy, CURLOPT_UPLOAD_BUFFERSIZE, Self.bufferSize)
        if let bits = settings.uploadBitsPerSecondMax {
            curl_easy_set_offset(easy, CURLOPT_MAX_SEND_SPEED_LARGE, curl_off_t(max(bits / 8, 1)))
        }
        if let bits = settings.downloadBitsPerSecondMax {
            curl_easy_set_offset(easy, CURLOPT_MAX_RECV_SPEED_LARGE, curl_off_t(max(bits / 8, 1)))
        }
    }

    /// How many bytes are received at a time. Under a speed limit fewer: curl looks at the limit only after up to a hundred
    /// pieces, which must not be worth more than a quarter of a second.
    private static func receiveSize(_ settings: TransportSettings) -> Int {
        guard let bits = settings.downloadBitsPerSecondMax else { return bufferSize }
        return min(max(bits / 8 / 400, 1024), bufferSize)
    }

    /// What curl says went wrong, in its own words; empty when it says nothing.
    var errorMessage: String { S3ErrorDocument.legible(String(cString: errorText)) }

    /// A number that changes whenever curl hands bytes to the connection.
    var sentMark: UInt64 {
        var sent: curl_off_t = 0
        curl_easy_get_offset(easy, CURLINFO_SIZE_UPLOAD_T, &sent)
        return UInt64(clamping: sent)
    }

    /// The bytes that the kernel still has to send, or to have acknowledged; 0 where that is not known.
    ///
    /// - Source: 'man 7 tcp', SIOCOUTQ, which is TIOCOUTQ.
    static func queuedBytes(of socket: Int32) -> Int {
        guard socket >= 0 else { return 0 }
        var queued: Int32 = 0
        return ioctl(socket, UInt(TIOCOUTQ), &queued) == 0 ? Int(queued) : 0
    }
}
