// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import Daemon

@Suite("Help and version")
struct HelpTests {
    @Test("every option in force stands in the help, none of the others does")
    func complete() {
        let text = HelpText.text
        for option in OptionTable.supported { #expect(text.contains("    \(option.usage) "), "\(option.name)") }
        for option in OptionDescription.laterOptions { #expect(!text.contains("    \(option.usage) "), "\(option.name)") }
    }

    @Test("the help fits a terminal of 100 columns")
    func width() {
        for line in HelpText.text.split(separator: "\n") { #expect(line.count <= 100, "\(line)") }
    }

    @Test("the version is four lines and starts with the program's name")
    func version() {
        let lines = Version.text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 5 && lines.last == "")
        #expect(lines.first == "s3backer version \(Version.number)")
    }
}
