// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension OptionDescription {
    /// What the C program has and this version refuses, by name and with a reason, so that nobody believes it is in force.
    ///
    /// The help text of each is the function it belongs to.
    static let laterOptions: [OptionDescription] = [
        OptionDescription(name: "accessEC2IAM", .text("ROLE"), .later, "reading the credentials of an EC2 role"),
        OptionDescription(name: "accessEC2IAM-IMDSv2", .flag, .later, "reading the credentials of an EC2 role"),
        OptionDescription(name: "erase", .flag, .later, "erasing a volume"),
        OptionDescription(name: "sharedDiskMode", .flag, .later, "sharing a volume"),
        OptionDescription(name: "test-errors", .flag, .later, "fault injection"),
        OptionDescription(name: "test-delays", .flag, .later, "fault injection"),
        OptionDescription(name: "test-discard", .flag, .later, "fault injection"),
        OptionDescription(name: "nbd", .flag, .later, "NBD"),
        OptionDescription(name: "nbd-flag", .text("FLAG"), .later, "NBD"),
        OptionDescription(name: "nbd-param", .text("PARAM"), .later, "NBD"),
    ]
}
