// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The full name of an object within its bucket, prefix included; any Unicode text, not percent-encoded.
///
/// Compared and ordered by its UTF-8 bytes, as S3 does: two spellings of one umlaut are two keys, although Swift's strings
/// are equal then.
public struct ObjectKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name.
    public let name: String

    /// Makes a key.
    public init(_ name: String) { self.name = name }

    /// Whether the UTF-8 bytes are the same.
    public static func == (left: ObjectKey, right: ObjectKey) -> Bool {
        left.name.utf8.elementsEqual(right.name.utf8)
    }

    /// Hashes the UTF-8 bytes.
    public func hash(into hasher: inout Hasher) {
        var name = name
        name.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }

    /// By UTF-8 bytes, the order of S3's lists.
    public static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        left.name.utf8.lexicographicallyPrecedes(right.name.utf8)
    }

    /// The name.
    public var description: String { name }
}

/// The version tag of an object, as the store gave it, without the quotes of its header; weak tags keep their `W/` in front.
///
/// - Source: RFC 9110 section 8.8.3; for a plain S3 PUT it is the MD5 of the body in hexadecimal.
public struct ETag: Hashable, Sendable, CustomStringConvertible {
    /// The text between the quotes; with `W/` in front if the tag is weak.
    public let text: String

    /// Makes a tag from the text between the quotes.
    public init(_ text: String) { self.text = text }

    /// The text.
    public var description: String { text }
}
