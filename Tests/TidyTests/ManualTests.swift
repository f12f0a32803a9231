// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

/// The table of options and the manual page say the same.
@Suite struct ManualTests {
    private static let manual = "s3backer.1"

    /// The names in the table of options; those that this version refuses stand in a file of their own.
    private func options() throws -> (supported: Set<String>, refused: Set<String>) {
        var supported: Set<String> = []
        var refused: Set<String> = []
        for file in try SourceTree.files(in: "Sources/Daemon", "swift") where file.path.contains("/Options+") {
            let names = file.text.matches(of: /\bname:\s*"([A-Za-z0-9-]+)"/).map { String($0.1) }
            if file.path.hasSuffix("/Options+Later.swift") { refused.formUnion(names) } else { supported.formUnion(names) }
        }
        return (supported, refused)
    }

    /// What the page names as `\-\-name` or `\-\-\fBname`, with or without escapes.
    private func namesInManual() throws -> Set<String> {
        let text = try SourceFile(path: Self.manual).lines.filter { !$0.hasPrefix(".\\\"") }.joined(separator: "\n")
            .replacing("\\-", with: "-").replacing(/\\f[BIRP]/, with: "")
        return Set(text.matches(of: /(?:^|[^-\w])--([A-Za-z][A-Za-z0-9-]*)/).map { String($0.1) })
    }

    @Test("every option is in the manual page")
    func optionsAreDocumented() throws {
        let missing = try options().supported.subtracting(namesInManual())
        #expect(missing.isEmpty, "not in \(Self.manual): \(missing.sorted())")
    }

    @Test("every option that the manual page names exists")
    func documentedOptionsExist() throws {
        let options = try options()
        let unknown = try namesInManual().subtracting(options.supported).subtracting(options.refused)
        #expect(unknown.isEmpty, "in \(Self.manual), but not in the table: \(unknown.sorted())")
        #expect(options.supported.count > 20, "the table of options was not found")
    }

    @Test("no document names an option that does not exist")
    func documentsNameRealOptions() throws {
        let options = try options()
        let known = options.supported.union(options.refused)
        var findings = Findings()
        // A program of the benchmarks has options of its own.
        for file in try Documents.all() where !file.path.hasPrefix("Benchmarks/StandIn/") {
            for (index, line) in file.lines.enumerated() {
                for match in line.matches(of: /`--([A-Za-z][A-Za-z0-9-]*)(?:=[^`]*)?`/) where !known.contains(String(match.1)) {
                    findings.add(file, index + 1, "--\(match.1)")
                }
            }
        }
        findings.expectNone()
    }
}
