// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// How long the tests that find more the longer they run are to run, from the environment.
enum Effort {
    /// Kills for each mode of the kill rig: `S3BACKER_KILLS`.
    static let kills = number("S3BACKER_KILLS") ?? 20

    /// Seconds for which the store is gone below a file system: `S3BACKER_OUTAGE_SECONDS`.
    static let outageSeconds = number("S3BACKER_OUTAGE_SECONDS") ?? 60

    /// The seed of the random tests: `S3BACKER_KILL_SEED`, or a new one each time.
    static let seed = number("S3BACKER_KILL_SEED").map(UInt64.init) ?? UInt64.random(in: 0..<1_000_000)

    /// Where the rows of the report of a long run go: `S3BACKER_SOAK_REPORT`; nil is nowhere.
    static let report = ProcessInfo.processInfo.environment["S3BACKER_SOAK_REPORT"]

    /// What no test may exceed: eight minutes for the usual efforts.
    static let minutesPerTest = max(8, kills / 4, outageSeconds / 6)

    /// Adds a row to the report.
    static func addToReport(_ row: String) throws {
        guard let report else { return }
        let line = Data((row + "\n").utf8)
        guard FileManager.default.fileExists(atPath: report) || FileManager.default.createFile(atPath: report, contents: nil),
            let handle = FileHandle(forWritingAtPath: report)
        else { throw FixtureError("cannot write \(report)") }
        defer { try? handle.close() }
        try handle.seekToEnd()
        try handle.write(contentsOf: line)
    }

    private static func number(_ name: String) -> Int? { ProcessInfo.processInfo.environment[name].flatMap { Int($0) } }
}
