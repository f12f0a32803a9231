// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension CommandResult {
    /// Expects the failure of a start: status 1, no hang, nothing on standard output, and exactly one line of its own on standard
    /// error with all these words in it. The two lines about auto-detection may stand before.
    func expectFailure(mentioning words: String..., sourceLocation: SourceLocation = #_sourceLocation) {
        expectFailure(mentioning: words, sourceLocation: sourceLocation)
    }

    /// The same, with the words as a list.
    func expectFailure(mentioning words: [String], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(status == 1, "\(self)", sourceLocation: sourceLocation)
        #expect(output.isEmpty, "\(self)", sourceLocation: sourceLocation)
        let messages = errorLines.filter { !$0.contains("auto-detect") || $0.contains("cannot") }
        #expect(messages.count == 1, "more or less than one line: \(self)", sourceLocation: sourceLocation)
        #expect(messages.last?.hasPrefix("s3backer: ") == true, "\(self)", sourceLocation: sourceLocation)
        for word in words {
            #expect(
                messages.last?.range(of: word, options: .caseInsensitive) != nil, "\"\(word)\" is missing: \(self)",
                sourceLocation: sourceLocation)
        }
    }
}
