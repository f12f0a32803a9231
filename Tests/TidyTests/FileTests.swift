// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

/// What every file owes its reader.
@Suite struct FileTests {
    private func everything() throws -> [SourceFile] {
        try SourceTree.files(in: "Sources", "swift", "h") + SourceTree.files(in: "Tests", "swift", "h")
            + SourceTree.files(in: "Scripts", "sh") + [SourceFile(path: "Package.swift"), SourceFile(path: "Makefile")]
            + [SourceFile(path: ".ci/run")]
    }

    @Test("a file starts with its licence")
    func licence() throws {
        var findings = Findings()
        for file in try everything() {
            let head = file.lines.prefix(4)
            let isLicensed =
                head.contains { $0.hasSuffix(" SPDX-License-Identifier: Apache-2.0") }
                && head.contains { $0.hasSuffix(" Copyright (c) the s3backer authors") }
            if !isLicensed { findings.add(file, 1, "no licence in the first lines") }
        }
        findings.expectNone()
    }

    @Test("a file has 700 lines at most")
    func length() throws {
        var findings = Findings()
        for file in try everything() where file.lines.count > 700 { findings.add(file, 1, "\(file.lines.count) lines") }
        findings.expectNone()
    }

    @Test("no type is called a manager, a helper or a util")
    func names() throws {
        var findings = Findings()
        let pattern = /\b(?:struct|class|enum|actor|protocol|typealias)\s+(\w*(?:Manager|Helper|Util)\w*)/
        for file in try SourceTree.files(in: "Sources", "swift") + SourceTree.files(in: "Tests", "swift") {
            for (number, text) in file.code {
                if let match = text.firstMatch(of: pattern) { findings.add(file, number, "a type called \(match.1)") }
            }
            if file.path.contains(/(?:Manager|Helper|Util)s?\.swift$/) { findings.add(file, 1, "a file of that name") }
        }
        findings.expectNone()
    }

    @Test("no comment promises work for later")
    func noPromises() throws {
        var findings = Findings()
        for file in try SourceTree.files(in: "Sources", "swift", "h") {
            for (index, line) in file.lines.enumerated() where line.contains(/\/\/.*\b(?:TODO|FIXME|XXX)\b/) {
                findings.add(file, index + 1, line)
            }
        }
        findings.expectNone()
    }

    @Test("no comment refers to what is not here")
    func noForeignReferences() throws {
        var findings = Findings()
        let pattern = /\bspec \d|\b[Ii]ssue #?\d|design\.md|style\.md|s3backer-compat|swift-notes/
        for file in try SourceTree.files(in: "Sources", "swift", "h") + SourceTree.files(in: "Tests", "swift") {
            guard !file.path.hasSuffix("FileTests.swift") else { continue }
            for (index, line) in file.lines.enumerated() where line.contains(pattern) { findings.add(file, index + 1, line) }
        }
        findings.expectNone()
    }

    /// Where a real kernel is waited for, which sends no word: polled, with a deadline.
    private func realMounts(_ file: SourceFile) -> Bool {
        file.target == "IntegrationTests" || file.path.hasPrefix("Tests/FUSETests/Mounted")
    }

    @Test("no test sleeps, but where a real kernel is waited for")
    func noSleeps() throws {
        var findings = Findings()
        for file in try SourceTree.files(in: "Tests", "swift") where !realMounts(file) {
            for (number, text) in file.code where text.contains(/\bTask\.sleep|\busleep\(|\bsleep\(\d/) {
                findings.add(file, number, "sleeps; poll with a deadline, or move the clock by hand")
            }
        }
        findings.expectNone()
    }

    @Test("no type is an actor")
    func noActors() throws {
        var findings = Findings()
        for file in try SourceTree.files(in: "Sources", "swift") {
            for (number, text) in file.code where text.contains(/^\s*(?:public |final |package |internal |private )*actor\s+\w+/)
            {
                findings.add(file, number, "an actor leaves the caller's thread, even without contention")
            }
        }
        findings.expectNone()
    }
}
