// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How the blocks that exist are found out.
struct SurveySettings: Equatable, Sendable {
    /// How many requests that takes at once, when nobody says.
    ///
    /// - Source: s3backer(1) of the C program, `--listBlocksThreads`.
    static let requestsMaxDefault = 16

    /// How many requests are in flight at most.
    let requestsMax: Int

    /// Checks what the options say; nil without a survey.
    init?(_ options: ParsedOptions, warnings: inout [String]) throws(UserError) {
        let requestsMax = options.listBlocksThreads?.value
        guard requestsMax != 0 else {
            throw UserError("cannot use \"--listBlocksThreads=0\": a survey needs at least one; give 1 or more")
        }
        guard options.listBlocks else {
            if requestsMax != nil { warnings.append("warning: \"--listBlocksThreads\" has no effect without \"--listBlocks\"") }
            return nil
        }
        self.requestsMax = requestsMax ?? Self.requestsMaxDefault
    }
}
