// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ObjectStores

extension ETag {
    /// Reads a tag as a header or a list has it: in quotes, perhaps with `W/` in front; a bare text is tolerated.
    ///
    /// - Returns: nil when there is nothing in it.
    /// - Source: RFC 9110 section 8.8.3.
    init?(header value: String) {
        // By bytes: a tag comes with every answer, and its characters are of no interest.
        let quote = UInt8(ascii: "\"")
        let isWeak = value.utf8.starts(with: "W/".utf8)
        var text = value.utf8.dropFirst(isWeak ? 2 : 0)
        if text.count >= 2, text.first == quote, text.last == quote { text = text.dropFirst().dropLast() }
        guard !text.isEmpty, text.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != quote }) else { return nil }
        self.init(isWeak ? "W/" + Substring(text) : String(Substring(text)))
    }

    /// The tag as a conditional GET sends it.
    var quoted: String { text.hasPrefix("W/") ? "W/\"\(text.dropFirst(2))\"" : "\"\(text)\"" }
}
