// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

/// The documents of the project.
enum Documents {
    /// README.md and its neighbours, and all below Docs and Benchmarks.
    static func all() throws -> [SourceFile] {
        try ["README.md", "INSTALL.md", "CHANGES.md"].map(SourceFile.init(path:)) + SourceTree.files(in: "Docs", "md")
            + (SourceTree.exists("Benchmarks") ? SourceTree.files(in: "Benchmarks", "md") : [])
    }
}

/// The documents speak of what exists.
///
/// A path in backquotes that starts with a folder of the package, a file name in backquotes with a suffix of ours, and a link
/// are taken as names of files. A sentence in quotes within backquotes is taken as the name of a test.
@Suite struct DocumentTests {
    @Test("every file that a document names exists")
    func filesExist() throws {
        let folders = ["Sources", "Tests", "Docs", "Scripts", "Benchmarks", ".ci"]
        let everything = try folders.flatMap { folder in
            SourceTree.exists(folder) ? try SourceTree.paths(in: folder) : []
        }
        let baseNames = Set(everything.map { $0.split(separator: "/").last.map(String.init) ?? $0 })
        var findings = Findings()
        for file in try Documents.all() {
            for (index, line) in file.lines.enumerated() {
                for match in line.matches(of: /`([\w.+\/-]+)`/) {
                    let name = String(match.1)
                    let isPath = folders.contains { name.hasPrefix($0 + "/") }
                    let isName = name.contains(/^[\w+-]+\.(?:swift|sh|md|patch)$/) && !name.hasPrefix("X+")
                    let isThere =
                        isPath ? SourceTree.exists(name) : !isName || baseNames.contains(name) || SourceTree.exists(name)
                    if !isThere { findings.add(file, index + 1, name) }
                }
            }
        }
        findings.expectNone()
    }

    @Test("every link within the documents leads somewhere")
    func linksLead() throws {
        var findings = Findings()
        for file in try Documents.all() {
            let folder = file.path.split(separator: "/").dropLast().joined(separator: "/")
            for (index, line) in file.lines.enumerated() {
                for match in line.matches(of: /\]\(([^)#:\s]+)(?:#[^)]*)?\)/) {
                    let target = folder.isEmpty ? String(match.1) : folder + "/" + match.1
                    if !SourceTree.exists(target) { findings.add(file, index + 1, String(match.1)) }
                }
            }
        }
        findings.expectNone()
    }

    @Test("every test that a document names exists")
    func testsExist() throws {
        let texts = try (SourceTree.files(in: "Tests", "swift") + SourceTree.files(in: "Sources/StoreTesting", "swift"))
            .filter { $0.target != "TidyTests" }.map(\.text)
        var findings = Findings()
        for file in try Documents.all() {
            for (index, line) in file.lines.enumerated() {
                for match in line.matches(of: /`"([^`]+)"`/) where !texts.contains(where: { $0.contains("\"\(match.1)\"") }) {
                    findings.add(file, index + 1, "no test \"\(match.1)\"")
                }
            }
        }
        findings.expectNone()
    }

    @Test("no document has a gap")
    func noGaps() throws {
        var findings = Findings()
        for file in try Documents.all() {
            for (index, line) in file.lines.enumerated() where line.contains(/\b(?:PENDING|TODO|TBD|FIXME)\b/) {
                findings.add(file, index + 1, line)
            }
        }
        findings.expectNone()
    }

    @Test("make targets that a document names exist")
    func makeTargetsExist() throws {
        let targets = Set(try SourceFile(path: "Makefile").text.matches(of: /(?m)^([a-z-]+):/).map { String($0.1) })
        var findings = Findings()
        for file in try Documents.all() {
            for (index, line) in file.lines.enumerated() {
                for match in line.matches(of: /\bmake ([a-z-]+)[^a-z`]*`/) where !targets.contains(String(match.1)) {
                    findings.add(file, index + 1, "make \(match.1)")
                }
            }
        }
        findings.expectNone()
    }
}

/// The words of a format stand in its document and in the code alike.
@Suite struct FormatTests {
    /// A word on the wire or on disk, its document, and the folder of the code that writes it.
    struct Word: CustomTestStringConvertible {
        let word: String
        let document: String
        let folder: String
        var testDescription: String { word }
    }

    static let words: [Word] = [
        Word(word: "s3backer-mounted", document: "Docs/Formats/Direct.md", folder: "Sources/Volumes"),
        Word(word: "s3backer-blocksize", document: "Docs/Formats/Direct.md", folder: "Sources/Volumes"),
        Word(word: "s3backer-filesize", document: "Docs/Formats/Direct.md", folder: "Sources/Volumes"),
        Word(word: "s3backer-mount-token", document: "Docs/Formats/Direct.md", folder: "Sources/Volumes"),
        Word(word: "s3backer-hmac", document: "Docs/Formats/Direct.md", folder: "Sources/Volumes"),
        Word(word: "s3backer-key", document: "Docs/Formats/Encryption.md", folder: "Sources/Volumes"),
        Word(word: "AES-256-GCM", document: "Docs/Formats/Encryption.md", folder: "Sources/Volumes"),
        Word(word: "application/x-s3backer-block", document: "Docs/Formats/Direct.md", folder: "Sources/Volumes"),
    ]

    @Test("a word of a format stands in its document and in the code", arguments: words)
    func wordStandsInBoth(_ word: Word) throws {
        let document = try SourceFile(path: word.document)
        #expect(document.text.contains(word.word), "\(word.document) does not say \(word.word)")
        let code = try SourceTree.files(in: word.folder, "swift")
        #expect(code.contains { $0.text.contains("\"\(word.word)\"") }, "\(word.folder) does not say \(word.word)")
    }
}
