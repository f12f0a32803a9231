// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import PackageDescription

/// The one set of compiler settings, shared by every Swift target: all of Swift 6, and no warning survives.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "s3backer",
    products: [
        .executable(name: "s3backer", targets: ["s3backer"]),
        // For Benchmarks, which is a package of its own.
        .library(
            name: "Stores",
            targets: ["DataPath", "Cryptography", "BlockStores", "ObjectStores", "Volumes", "S3", "FUSE", "StoreTesting"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    ],
    targets: [
        // C libraries: a module map and a shim.h each. One importer each, except CLinux, which any target may import.
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CExpat", pkgConfig: "expat", providers: [.apt(["libexpat1-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),

        // Leaves.
        .target(name: "DataPath", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "Cryptography", dependencies: ["CCrypto", "CLinux"], swiftSettings: strict),

        // The two waists. Siblings: neither knows the other.
        .target(name: "BlockStores", dependencies: ["DataPath", "Cryptography", "CLinux", log], swiftSettings: strict),
        .target(name: "ObjectStores", dependencies: ["DataPath", "Cryptography", "CLinux", log], swiftSettings: strict),

        .target(
            name: "S3", dependencies: ["ObjectStores", "DataPath", "Cryptography", "CCurl", "CExpat", "CLinux", log],
            swiftSettings: strict),
        .target(
            name: "Volumes",
            dependencies: ["BlockStores", "ObjectStores", "DataPath", "Cryptography", "CZlib", "CZstd", log],
            swiftSettings: strict),
        .target(name: "FUSE", dependencies: ["BlockStores", "DataPath", "CFuse", "CLinux", log], swiftSettings: strict),
        .target(
            name: "Daemon",
            dependencies: [
                "BlockStores", "ObjectStores", "S3", "Volumes", "FUSE", "DataPath", "Cryptography", "CLinux", log, arguments,
            ],
            swiftSettings: strict),
        .executableTarget(name: "s3backer", dependencies: ["Daemon"], swiftSettings: strict),

        // Tests and benchmarks only: contracts, fakes, faults, the reference model, the manual clock, seeds.
        .target(
            name: "StoreTesting", dependencies: ["BlockStores", "ObjectStores", "DataPath", "Cryptography", log],
            swiftSettings: strict),
        .target(name: "ScriptedServer", dependencies: ["CLinux"], path: "Tests/ScriptedServer", swiftSettings: strict),

        .testTarget(name: "DataPathTests", dependencies: ["DataPath"], swiftSettings: strict),
        .testTarget(name: "CryptographyTests", dependencies: ["Cryptography"], swiftSettings: strict),
        .testTarget(
            name: "BlockStoresTests", dependencies: ["BlockStores", "StoreTesting", "DataPath", "Cryptography", log],
            swiftSettings: strict),
        .testTarget(
            name: "ObjectStoresTests", dependencies: ["ObjectStores", "StoreTesting", "DataPath", "Cryptography", log],
            swiftSettings: strict),
        .testTarget(
            name: "S3Tests", dependencies: ["S3", "ObjectStores", "StoreTesting", "DataPath", "ScriptedServer", log],
            swiftSettings: strict),
        .testTarget(
            name: "VolumesTests",
            dependencies: [
                "Volumes", "StoreTesting", "BlockStores", "ObjectStores", "DataPath", "Cryptography", "CZlib", "CZstd", log,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "CompatibilityTests",
            dependencies: ["Volumes", "StoreTesting", "BlockStores", "ObjectStores", "DataPath", "Cryptography", log],
            exclude: ["Golden"],
            swiftSettings: strict),
        .testTarget(
            name: "FUSETests", dependencies: ["FUSE", "StoreTesting", "BlockStores", "DataPath", "CFuse", "CLinux", log],
            swiftSettings: strict),
        .testTarget(
            name: "DaemonTests",
            dependencies: [
                "Daemon", "Volumes", "StoreTesting", "BlockStores", "ObjectStores", "DataPath", "Cryptography", "CLinux", log,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Daemon", "Volumes", "StoreTesting", "BlockStores", "ObjectStores", "DataPath", "Cryptography", log,
            ],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
        .testTarget(
            name: "IntegrationTests", dependencies: ["ScriptedServer", "S3", "ObjectStores", "DataPath", "CLinux", log],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
