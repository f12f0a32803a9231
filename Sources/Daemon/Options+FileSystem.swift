// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let filename = OptionDescription(
        name: "filename", .text("NAME"), .fileSystem, "Name of the disk file", default: "file")
    static let fileMode = OptionDescription(
        name: "fileMode", .fileMode, .fileSystem, "Permissions of the disk file", default: "0600, 0400 if read only")
    static let statsFilename = OptionDescription(
        name: "statsFilename", .text("NAME"), .fileSystem, "Name of the statistics file; empty for none",
        default: "stats")
    static let statsFileMirror = OptionDescription(
        name: "statsFileMirror", .text("FILE"), .fileSystem, "Keep a copy of the statistics in a file")
    static let statsFileMirrorInterval = OptionDescription(
        name: "statsFileMirrorInterval", .number("MILLIS"), .fileSystem, "How often the copy is made", default: "1000")
    static let directIO = OptionDescription(
        name: "directIO", .flag, .fileSystem, "Keep the disk file out of the kernel's page cache")
    static let readOnly = OptionDescription(
        name: "readOnly", .flag, .fileSystem, "Refuse every change")

    /// What the mounted directory looks like.
    static let fileSystemOptions: [OptionDescription] = [
        .filename, .fileMode, .statsFilename, .statsFileMirror, .statsFileMirrorInterval, .directIO, .readOnly,
    ]
}
