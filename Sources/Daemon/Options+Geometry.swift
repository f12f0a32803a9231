// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Each entry says itself, in its help text, what it is for.
extension OptionDescription {
    static let size = OptionDescription(
        name: "size", .size("file size"), .geometry, "Size of the disk; needed once, then detected", default: "detected")
    static let blockSize = OptionDescription(
        name: "blockSize", .size("block size"), .geometry, "Size of a block, a power of two", default: "detected, else 4k")
    static let noAutoDetect = OptionDescription(
        name: "noAutoDetect", .flag, .geometry, "Do not ask the store for the sizes")

    /// How large the disk is, and in what pieces.
    static let geometryOptions: [OptionDescription] = [
        .size, .blockSize, .noAutoDetect,
    ]
}
