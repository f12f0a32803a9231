// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension BucketSettings {
    /// Checks what the options say about the bucket's address and connection.
    init(
        _ options: ParsedOptions, bucket: String, credentials: CredentialSettings?, signature: Signature, objects: ObjectSettings
    ) throws(UserError) {
        region = options.region ?? "us-east-1"
        guard !region.isEmpty else { throw UserError("invalid region \"\": give a name such as eu-central-1") }
        isVirtualHost = !options.noVhost && (options.vhost || options.region != nil)
        baseURL = try Self.baseURL(options, region: region)
        connection = try ConnectionSettings(options)
        self.bucket = bucket
        self.credentials = credentials
        self.signature = signature
        self.objects = objects
    }

    private static func baseURL(_ options: ParsedOptions, region: String) throws(UserError) -> String {
        guard let text = options.baseURL else {
            let host = region == "us-east-1" ? "s3.amazonaws.com" : "s3.\(region).amazonaws.com"
            return "\(options.ssl ? "https" : "http")://\(host)/"
        }
        let schemes = ["http://", "https://"].filter { text.hasPrefix($0) }
        guard let scheme = schemes.first else {
            throw UserError("invalid base URL \"\(text)\": it must start with http:// or https://")
        }
        let rest = text.dropFirst(scheme.count)
        guard let host = rest.split(separator: "/", omittingEmptySubsequences: false).first, !host.isEmpty, !host.hasPrefix(":")
        else { throw UserError("invalid base URL \"\(text)\": the host is missing") }
        guard rest.hasSuffix("/") else { throw UserError("invalid base URL \"\(text)\": it must end with a slash") }
        guard !rest.contains(where: { "?#@ \\".contains($0) }) else {
            throw UserError("invalid base URL \"\(text)\": it is made of scheme, host, port and path only")
        }
        guard scheme == "https://" || !options.ssl else {
            throw UserError("cannot use \"--ssl\" with base URL \"\(text)\": it is not an https URL; change one of them")
        }
        return text
    }
}

extension ConnectionSettings {
    /// Checks what the options say about connections, pauses and speeds.
    init(_ options: ParsedOptions) throws(UserError) {
        typeOfService = try Self.typeOfService(options.ipTOS)
        let initial = options.initialRetryPause?.value ?? 200
        let total = options.maxRetryPause?.value ?? 30_000
        guard initial <= total else {
            throw UserError("cannot use \"--initialRetryPause=\(initial)\": it is longer than \"--maxRetryPause=\(total)\"")
        }
        let seconds = options.timeout?.value ?? 30
        guard seconds > 0 else { throw UserError("cannot use \"--timeout=0\": a request needs some time; give seconds") }
        authorityFile = options.cacert
        verifiesPeer = !options.insecure
        timeout = .seconds(seconds)
        initialRetryPause = .milliseconds(initial)
        totalRetryPauseMax = .milliseconds(total)
        uploadBytesPerSecond = options.maxUploadSpeed.map { max(1, $0.count / 8) }
        downloadBytesPerSecond = options.maxDownloadSpeed.map { max(1, $0.count / 8) }
        usesHTTP11 = options.http11
        reusesConnections = !options.noCurlCache
        logsHTTP = options.debugHTTP
    }

    /// Refuses a speed at which a block cannot be transferred within the timeout.
    func check(blockSize: Int) throws(UserError) {
        for (what, speed) in [("upload", uploadBytesPerSecond), ("download", downloadBytesPerSecond)] {
            guard let speed, UInt64(blockSize) / speed >= UInt64(timeout.components.seconds) else { continue }
            throw UserError(
                "cannot transfer a block of \(blockSize) bytes at the max \(what) speed of \(speed * 8) bits per second within "
                    + "\(timeout.components.seconds)s: raise \"--timeout\" or the speed, or use smaller blocks")
        }
    }

    /// - Source: netinet/ip.h, IPTOS_LOWDELAY and its neighbours.
    private static func typeOfService(_ text: String?) throws(UserError) -> Int? {
        guard let text else { return nil }
        let names = ["lowdelay": 0x10, "throughput": 0x08, "reliability": 0x04, "lowcost": 0x02, "mincost": 0x02]
        if let value = names[text] { return value }
        let number =
            text.lowercased().hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16) : Int(text, radix: text.hasPrefix("0") ? 8 : 10)
        guard let number, (0...255).contains(number), !text.hasPrefix("+"), !text.hasPrefix("-") else {
            throw UserError(
                "invalid value \"\(text)\" for \"--ipTOS\": use one of \(names.keys.sorted().joined(separator: ", ")), or 0 to 255"
            )
        }
        return number
    }
}

extension ObjectSettings {
    private static let storageClasses = [
        "STANDARD", "STANDARD_IA", "ONEZONE_IA", "REDUCED_REDUNDANCY", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE",
        "OUTPOSTS",
    ]
    private static let accessTypes = ["private", "public-read", "public-read-write", "authenticated-read"]

    /// Checks what the options say about new objects.
    init(_ options: ParsedOptions) throws(UserError) {
        storageClass = try Settings.checked(options.storageClass, .storageClass, oneOf: Self.storageClasses)
        serverSideEncryption = try Settings.checked(options.sse, .sse, oneOf: ["AES256", "aws:kms"])
        if serverSideEncryption == "aws:kms" {
            guard let key = options.sseKeyID, !key.isEmpty else {
                throw UserError("cannot use \"--sse=aws:kms\": it needs a key; use \"--sse-key-id\"")
            }
            serverSideEncryptionKeyID = key
        } else {
            serverSideEncryptionKeyID = nil
        }
        accessType = try Settings.checked(options.accessType, .accessType, oneOf: Self.accessTypes) ?? "private"
    }
}
