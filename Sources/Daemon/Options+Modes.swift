// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let test = OptionDescription(
        name: "test", .flag, .modes, "Store in a local directory instead of a bucket")
    static let force = OptionDescription(
        name: "force", .flag, .modes, "Override other sizes and a foreign mount token")
    static let resetMountedFlag = OptionDescription(
        name: "reset-mounted-flag", .flag, .modes, "Remove the mount token and end")
    static let changePassword = OptionDescription(
        name: "changePassword", .flag, .modes, "Change the password of a volume of AES-256-GCM and end")
    static let configFile = OptionDescription(
        name: "configFile", .text("FILE"), .modes, "Read more arguments from a file (also -F FILE)")
    static let quiet = OptionDescription(
        name: "quiet", .flag, .modes, "Say nothing about the progress of the start")
    static let debug = OptionDescription(
        name: "debug", .flag, .modes, "Log every request")
    static let debugHTTP = OptionDescription(
        name: "debug-http", .flag, .modes, "As --debug, with the headers of requests and answers")
    static let help = OptionDescription(
        name: "help", .flag, .modes, "Show this text and end (also -h and -?)")
    static let version = OptionDescription(
        name: "version", .flag, .modes, "Show the version and end (also -v)")

    /// What the program does, and what it says.
    static let modesOptions: [OptionDescription] = [
        .test, .force, .resetMountedFlag, .changePassword, .configFile, .quiet, .debug, .debugHTTP, .help, .version,
    ]
}
