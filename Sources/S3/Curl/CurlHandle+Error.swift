// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCurl

extension CurlHandle {
    /// What a failed transfer means.
    ///
    /// - Parameter result: Anything but CURLE_OK.
    /// - Source: 'man 3 libcurl-errors'.
    func error(_ result: CURLcode, of transfer: CurlTransfer) -> HTTPTransportError {
        if let refusal = transfer.refusal { return refusal }
        let general = String(cString: curl_easy_strerror(result))
        let detail = errorMessage
        let words = detail.isEmpty ? general : detail
        return HTTPTransportError(
            Self.kind(of: result), words + Self.hint(for: result), mayHaveBeenSent: transfer.mayHaveBeenSent)
    }

    private static func kind(of result: CURLcode) -> HTTPTransportError.Kind {
        switch result {
        case CURLE_OPERATION_TIMEDOUT: .timedOut
        case CURLE_COULDNT_CONNECT: .connectFailed
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .hostUnknown
        case CURLE_OUT_OF_MEMORY: .outOfMemory
        case CURLE_PARTIAL_FILE, CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL: .malformedAnswer
        case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_HTTP2, CURLE_HTTP2_STREAM: .connectionLost
        case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CACERT_BADFILE, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM:
            .connectionLost
        default: .other
        }
    }

    private static func hint(for result: CURLcode) -> String {
        switch result {
        case CURLE_PEER_FAILED_VERIFICATION: "; use --cacert=FILE to trust the server's certificate"
        case CURLE_SSL_CACERT_BADFILE: "; check --cacert"
        default: ""
        }
    }
}
