// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let md5CacheSize = OptionDescription(
        name: "md5CacheSize", .number("BLOCKS"), .consistency, "Written blocks whose ETags are remembered; 0 is off",
        default: "0")
    static let md5CacheTime = OptionDescription(
        name: "md5CacheTime", .number("MILLIS"), .consistency, "How long they are; 0 is for ever", default: "0")
    static let minWriteDelay = OptionDescription(
        name: "minWriteDelay", .number("MILLIS"), .consistency, "Least time between two writes of one block", default: "0")

    /// What is remembered against a store that may answer with old versions.
    static let consistencyOptions: [OptionDescription] = [
        .md5CacheSize, .md5CacheTime, .minWriteDelay,
    ]
}
