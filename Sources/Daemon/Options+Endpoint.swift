// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let baseURL = OptionDescription(
        name: "baseURL", .text("URL"), .endpoint, "URL of S3, ending in a slash",
        default: "http://s3.amazonaws.com/")
    static let region = OptionDescription(
        name: "region", .text("REGION"), .endpoint, "Region of the bucket; implies --vhost", default: "us-east-1")
    static let ssl = OptionDescription(
        name: "ssl", .flag, .endpoint, "Use https in the default base URL")
    static let vhost = OptionDescription(
        name: "vhost", .flag, .endpoint, "Put the bucket into the host name")
    static let noVhost = OptionDescription(
        name: "no-vhost", .flag, .endpoint, "Keep the bucket in the path, also with --region")
    static let cacert = OptionDescription(
        name: "cacert", .text("FILE"), .endpoint, "Certificate authorities to trust, in PEM", default: "the system's")
    static let insecure = OptionDescription(
        name: "insecure", .flag, .endpoint, "Do not verify the certificate of the server")
    static let timeout = OptionDescription(
        name: "timeout", .number("SECONDS"), .endpoint, "Longest wait for a request that does not move", default: "30")
    static let initialRetryPause = OptionDescription(
        name: "initialRetryPause", .number("MILLIS"), .endpoint, "Pause before the first retry; doubles each time",
        default: "200")
    static let maxRetryPause = OptionDescription(
        name: "maxRetryPause", .number("MILLIS"), .endpoint, "Sum of the pauses after which a request has failed",
        default: "30000")
    static let maxUploadSpeed = OptionDescription(
        name: "maxUploadSpeed", .size("max upload speed"), .endpoint, "Limit of one upload, in bits per second",
        default: "none")
    static let maxDownloadSpeed = OptionDescription(
        name: "maxDownloadSpeed", .size("max download speed"), .endpoint, "Limit of one download, in bits per second",
        default: "none")
    static let http11 = OptionDescription(
        name: "http11", .flag, .endpoint, "Use HTTP/1.1 only")
    static let noCurlCache = OptionDescription(
        name: "noCurlCache", .flag, .endpoint, "Make a new connection for each request")
    static let ipTOS = OptionDescription(
        name: "ipTOS", .text("TOS"), .endpoint, "IP type of service: a name or 0 ... 255")

    /// Where the requests go, and how patiently.
    static let endpointOptions: [OptionDescription] = [
        .baseURL, .region, .ssl, .vhost, .noVhost, .cacert, .insecure, .timeout, .initialRetryPause, .maxRetryPause,
        .maxUploadSpeed, .maxDownloadSpeed, .http11, .noCurlCache, .ipTOS,
    ]
}
