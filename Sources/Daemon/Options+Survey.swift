// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let listBlocks = OptionDescription(
        name: "listBlocks", .flag, .survey, "Find out in the background which blocks exist")
    static let listBlocksThreads = OptionDescription(
        name: "listBlocksThreads", .number("NUM"), .survey, "Requests of the survey in flight at most", default: "16")

    /// How the blocks that exist are found out.
    static let surveyOptions: [OptionDescription] = [
        .listBlocks, .listBlocksThreads,
    ]
}
