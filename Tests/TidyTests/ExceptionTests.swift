// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

/// What the rules forbid stands on a list with its reason, or not at all.
@Suite struct ExceptionTests {
    @Test(
        "every unchecked or forbidden construct stands on the list, as often as the list says",
        arguments: Exception.Construct.allCases)
    func listIsComplete(_ construct: Exception.Construct) throws {
        var findings = Findings()
        let pattern = construct.pattern
        let listed = Exception.all.filter { $0.construct == construct }
        var seen: Set<String> = []
        for file in try SourceTree.files(in: "Sources", "swift") {
            let places = file.code.filter { $0.text.firstMatch(of: pattern) != nil }
            let allowed = listed.filter { $0.file == file.path }.reduce(0) { $0 + $1.count }
            if allowed > 0 { seen.insert(file.path) }
            guard places.count != allowed else { continue }
            if places.isEmpty { findings.add("\(file.path): the list excepts \(construct.rawValue), which is not there") }
            for place in places {
                findings.add(file, place.number, "\(construct.rawValue): \(places.count) here, \(allowed) on the list")
            }
        }
        for exception in listed where !seen.contains(exception.file) {
            findings.add("\(exception.file): on the list, but there is no such file")
        }
        findings.expectNone()
    }

    @Test("every exception gives its reason")
    func reasonsAreGiven() {
        #expect(Exception.all.allSatisfy { $0.reason.count > 20 })
    }

    @Test("every @unchecked Sendable and nonisolated(unsafe) has its proof beside it")
    func proofsAreThere() throws {
        var findings = Findings()
        for file in try SourceTree.files(in: "Sources", "swift") {
            for (number, text) in file.code where text.contains("@unchecked Sendable") || text.contains("nonisolated(unsafe)") {
                let nearby = file.lines[max(0, number - 8)..<min(file.lines.count, number + 8)]
                let hasProof = nearby.contains { $0.contains("//") && $0.contains(/[Pp]roof|not Sendable/) }
                if !hasProof { findings.add(file, number, "no comment proves that this is safe") }
            }
        }
        findings.expectNone()
    }

    @Test("nothing is tried with try!, in the tests neither")
    func noForcedTry() throws {
        var findings = Findings()
        for file in try SourceTree.files(in: "Sources", "swift") + SourceTree.files(in: "Tests", "swift") {
            for (number, text) in file.code where text.contains(/\btry!/) { findings.add(file, number, "try!") }
        }
        findings.expectNone()
    }
}
