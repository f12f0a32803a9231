// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// The RADOS Gateway of this run: started by the first test that wants it, ended when this process ends.
struct Gateway: Sendable {
    /// `http://127.0.0.1:PORT`
    let endpoint: String
    /// The port on loopback.
    let port: UInt16
    /// An access id the gateway knows.
    let accessID: String
    /// Its secret.
    let secret: String

    /// The one gateway of the run.
    static let shared: Result<Gateway, any Error> = Result { try start() }

    /// The root of the package.
    static let packageDirectory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    private static func start() throws -> Gateway {
        let started = try Command.run(
            "\(packageDirectory)/Scripts/rgw.sh",
            ["start", "--dir", "/tmp/s3backer-integration-rgw.\(getpid())", "--owner", "\(getpid())"], seconds: 90)
        var values: [String: String] = [:]
        for line in started.output.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        guard let endpoint = values["S3_ENDPOINT"], let port = values["S3_PORT"].flatMap({ UInt16($0) }),
            let accessID = values["S3_ACCESS_ID"], let secret = values["S3_ACCESS_KEY"]
        else { throw FixtureError("cannot understand the answer of Scripts/rgw.sh: \(started)") }
        return Gateway(endpoint: endpoint, port: port, accessID: accessID, secret: secret)
    }
}
