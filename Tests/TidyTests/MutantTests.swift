// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

/// The bugs that `make check-mutants` plants: a patch that no longer applies proves nothing, and nobody runs them all each day.
@Suite struct MutantTests {
    @Test("every mutant still applies: its file has the lines that it changes")
    func apply() throws {
        let patches = try SourceTree.files(in: "Scripts/mutants", "patch")
        #expect(!patches.isEmpty)
        var findings = Findings()
        for patch in patches {
            for hunk in try hunks(of: patch) where !hunk.isFound {
                findings.add(patch, hunk.number, "\(hunk.file.path) has other lines by now")
            }
        }
        findings.expectNone()
    }

    /// A run of lines that a patch expects.
    private struct Hunk {
        let file: SourceFile
        let number: Int
        var before: [String] = []

        var isFound: Bool { file.lines.indices.contains { file.lines[$0...].starts(with: before) } }
    }

    /// Reads a unified diff; text before the first `---` line is the mutant's description.
    private func hunks(of patch: SourceFile) throws -> [Hunk] {
        var hunks: [Hunk] = []
        var file: SourceFile?
        for (index, line) in patch.lines.enumerated() {
            if line.hasPrefix("--- a/") {
                file = try SourceFile(path: String(line.dropFirst(6)))
            } else if line.hasPrefix("@@"), let file {
                hunks.append(Hunk(file: file, number: index + 1))
            } else if !hunks.isEmpty, line.isEmpty || line.hasPrefix(" ") || line.hasPrefix("-") {
                hunks[hunks.count - 1].before.append(String(line.dropFirst()))
            }
        }
        return hunks
    }
}
