// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// fio on a disk file, and what its JSON report says.
struct Fio {
    /// The numbers of the read half of the job.
    let read: FioNumbers
    /// The numbers of the write half of the job.
    let write: FioNumbers

    private struct Report: Decodable {
        let jobs: [Job]
        struct Job: Decodable {
            let error: Int
            let read: FioNumbers
            let write: FioNumbers
        }
    }

    /// The arguments for a job of this name; `--direct=1` and no fallocate are always among them.
    static func arguments(file: String, _ options: [String]) -> [String] {
        ["--name=job", "--filename=\(file)", "--direct=1", "--fallocate=none", "--verify_state_save=0", "--output-format=json"]
            + options
    }

    /// Runs a job to its end.
    ///
    /// - Throws: `FixtureError` when fio fails: an I/O error, or bytes that differ from what it wrote.
    init(file: String, _ options: [String], seconds: Int = 120) throws {
        let result = try Command.run("fio", Self.arguments(file: file, options), seconds: seconds)
        guard let start = result.output.firstIndex(of: "{") else { throw FixtureError("no report: \(result)") }
        let report = try JSONDecoder().decode(Report.self, from: Data(result.output[start...].utf8))
        guard let job = report.jobs.first, job.error == 0 else { throw FixtureError("fio reports an error: \(result)") }
        read = job.read
        write = job.write
    }
}

/// One half of a job in fio's report.
struct FioNumbers: Decodable {
    /// How many operations ended.
    let total_ios: Int
}
