// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import PackageDescription

let package = Package(
    name: "Benchmarks",
    dependencies: [
        .package(name: "s3backer", path: ".."),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    ],
    targets: [
        .executableTarget(
            name: "fuse-zero",
            dependencies: [
                .product(name: "Stores", package: "s3backer"), .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(name: "codec", dependencies: [.product(name: "Stores", package: "s3backer")]),
    ],
    swiftLanguageModes: [.v6]
)
