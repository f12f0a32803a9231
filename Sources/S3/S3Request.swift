// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// A request to S3 before it is signed: a plain description.
struct S3Request: Sendable {
    /// The method.
    var method: HTTPMethod
    /// The path, encoded once; ``Endpoint`` makes it.
    var path: String
    /// The query: plain names and values; a name without a value (`?delete`) has nil.
    var query: [(name: String, value: String?)] = []
    /// The headers that are signed; names in lower case, each once.
    var headers: [HTTPField] = []
    /// Headers that are not signed, because proxies on the way change them; names in lower case, each once.
    var unsignedHeaders: [HTTPField] = []
    /// The body; nil for none.
    var body: BufferSlice?
    /// How large a successful answer may be, in bytes.
    var answerSizeMax: Int

    /// Adds a header.
    mutating func add(_ name: String, _ value: String) {
        precondition(Self.isOneLine(value), "the value of a header is one line")
        headers.append(HTTPField(name, value))
    }

    /// Whether there is neither a NUL nor an end of line in the text, by which it could add a header of its own.
    private static func isOneLine(_ text: String) -> Bool {
        let bytes = text.utf8.span
        for index in bytes.indices where bytes[index] == 0 || bytes[index] == 10 || bytes[index] == 13 { return false }
        return true
    }

    /// The query as it stands in the URL: encoded, and sorted as the signature wants it, so that both have one order.
    var encodedQuery: String { Self.sortedQuery(query) { name, value in value.map { "\(name)=\($0)" } ?? name } }

    /// The query as SigV4 signs it: a missing value is an empty one.
    var canonicalQuery: String { Self.sortedQuery(query) { "\($0)=\($1 ?? "")" } }

    private static func sortedQuery(
        _ query: [(name: String, value: String?)], _ spell: (_ name: String, _ value: String?) -> String
    ) -> String {
        guard !query.isEmpty else { return "" }
        let encode = PercentEncoding.component.encode
        let encoded = query.map { (name: encode($0.name), value: $0.value.map(encode)) }
        // By code point, which for this ASCII text is the order of String.
        let sorted = encoded.sorted { ($0.name, $0.value ?? "") < ($1.name, $1.value ?? "") }
        return sorted.map { spell($0.name, $0.value) }.joined(separator: "&")
    }
}
