// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

/// The arrows between the targets, as Docs/Architecture.md draws them.
@Suite struct ImportTests {
    /// What each target of Sources may import of this package, C libraries included. CLinux may be imported by all.
    static let arrows: [String: Set<String>] = [
        "DataPath": [],
        "Cryptography": ["CCrypto"],
        "BlockStores": ["DataPath", "Cryptography"],
        "ObjectStores": ["DataPath", "Cryptography"],
        "S3": ["ObjectStores", "DataPath", "Cryptography", "CCurl", "CExpat"],
        "Volumes": ["BlockStores", "ObjectStores", "DataPath", "Cryptography", "CZlib", "CZstd"],
        "FUSE": ["BlockStores", "DataPath", "CFuse"],
        "Daemon": ["BlockStores", "ObjectStores", "S3", "Volumes", "FUSE", "DataPath", "Cryptography"],
        "s3backer": ["Daemon"],
        "StoreTesting": ["BlockStores", "ObjectStores", "DataPath", "Cryptography"],
    ]
    /// What comes with Swift and may be imported by all.
    static let standard: Set<String> = ["Glibc", "Synchronization", "CLinux"]
    /// Packages and larger libraries, and who may import them.
    static let packages: [String: Set<String>] = [
        "Logging": ["BlockStores", "ObjectStores", "S3", "Volumes", "FUSE", "Daemon", "StoreTesting"],
        "ArgumentParser": ["Daemon"],
        "Foundation": ["Daemon"],
        "FoundationEssentials": ["Daemon"],
    ]
    /// The C libraries; each has one importer.
    static let libraries: Set<String> = ["CFuse", "CCurl", "CExpat", "CCrypto", "CZlib", "CZstd"]

    @Test("a target imports only what the arrows allow")
    func arrowsHold() throws {
        var findings = Findings()
        for file in try SourceTree.files(in: "Sources", "swift") {
            guard let allowed = Self.arrows[file.target] else {
                findings.add("\(file.path): the target has no arrows; add it to ImportTests and Docs/Architecture.md")
                continue
            }
            for (number, module) in imports(of: file) {
                let isAllowed =
                    allowed.contains(module) || Self.standard.contains(module)
                    || Self.packages[module]?.contains(file.target) == true
                if !isAllowed { findings.add(file, number, "\(file.target) must not import \(module)") }
            }
        }
        findings.expectNone()
    }

    @Test("a C library has one importer")
    func oneImporter() throws {
        var importers: [String: Set<String>] = [:]
        for file in try SourceTree.files(in: "Sources", "swift") {
            for (_, module) in imports(of: file) where Self.libraries.contains(module) {
                importers[module, default: []].insert(file.target)
            }
        }
        for (library, targets) in importers {
            #expect(targets.count == 1, "\(library) is imported by \(targets.sorted())")
        }
    }

    @Test("a test imports what the product imports, and the tests' own libraries")
    func testsStandOnTheProduct() throws {
        let known = Set(Self.arrows.keys).union(Self.standard).union(Self.packages.keys)
            .union(Self.libraries)
            .union(["Testing", "StoreTesting", "ScriptedServer", "Dispatch"])
        var findings = Findings()
        for file in try SourceTree.files(in: "Tests", "swift") {
            for (number, module) in imports(of: file) where !known.contains(module) {
                findings.add(file, number, "imports \(module)")
            }
        }
        findings.expectNone()
    }

    private func imports(of file: SourceFile) -> [(Int, String)] {
        let pattern =
            /^\s*(?:@[\w()]+\s+)*(?:(?:public|package|internal|private|fileprivate)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|typealias|var|let)\s+)?(\w+)/
        return file.code.compactMap { number, text in
            text.firstMatch(of: pattern).map { (number, String($0.1)) }
        }
    }
}
