// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ObjectStores

extension ETag {
    /// Reads a tag as a header or a list has it: in quotes, perhaps with `W/` in front; a bare text is tolerated.
    ///
    /// - Returns: nil when there is nothing in it.
    /// - Source: RFC 9110 section 8.8.3.
    init?(header value: String) {
        let isWeak = value.hasPrefix("W/")
        var text = isWeak ? value.dropFirst(2) : value[...]
        if text.count >= 2, text.first == "\"", text.last == "\"" { text = text.dropFirst().dropLast() }
        guard !text.isEmpty, !text.contains("\""), text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return nil }
        self.init(isWeak ? "W/" + text : String(text))
    }

    /// The tag as a conditional GET sends it.
    var quoted: String { text.hasPrefix("W/") ? "W/\"\(text.dropFirst(2))\"" : "\"\(text)\"" }
}
