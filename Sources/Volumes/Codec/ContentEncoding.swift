// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What was done to a block's bytes, in the order in which it was done: the list in the header Content-Encoding.
///
/// - Source: RFC 9110 section 8.4; Docs/Formats/Direct.md "Content-Encoding".
public struct ContentEncoding: Hashable, Sendable {
    /// The elements, as in the header, without blanks.
    public let elements: [String]

    /// Makes a list.
    public init(elements: [String]) { self.elements = elements }
}
