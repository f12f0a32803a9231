// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension CommandResult {
    /// Expects the failure of a start: status 1, no hang, nothing on standard output, and exactly one line of its own on standard
    /// error with all these words in it. The lines about auto-detection and those of the log may stand before.
    func expectFailure(mentioning words: String..., sourceLocation: SourceLocation = #_sourceLocation) {
        expectFailure(mentioning: words, sourceLocation: sourceLocation)
    }

    /// The same, with the words as a list.
    func expectFailure(mentioning words: [String], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(status == 1, "\(self)", sourceLocation: sourceLocation)
        #expect(output.isEmpty, "\(self)", sourceLocation: sourceLocation)
        let progress = ["auto-detecting ", "auto-detected ", "auto-detection failed; using", "auto-detection disabled; using"]
        let messages = errorLines.filter { line in
            line.hasPrefix("s3backer: ") && !progress.contains { line.hasPrefix("s3backer: \($0)") }
        }
        let others = errorLines.filter { line in
            !line.hasPrefix("s3backer: ")
                && line.range(of: "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} [A-Z]+: ", options: .regularExpression) == nil
        }
        #expect(others.isEmpty, "lines that are neither the message nor the log: \(self)", sourceLocation: sourceLocation)
        #expect(messages.count == 1, "more or less than one line: \(self)", sourceLocation: sourceLocation)
        for word in words {
            #expect(
                messages.last?.range(of: word, options: .caseInsensitive) != nil, "\"\(word)\" is missing: \(self)",
                sourceLocation: sourceLocation)
        }
    }
}
