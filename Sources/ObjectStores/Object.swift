// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// What is stored beside the bytes of an object.
public struct ObjectMetadata: Hashable, Sendable {
    /// The Content-Type; nil when there is none.
    public var contentType: String?
    /// The Content-Encoding, as the header has it; nil when there is none.
    public var contentEncoding: String?
    /// User metadata: names in lower case, without `x-amz-meta-`; values as stored.
    public var user: [String: String]

    /// Makes metadata.
    public init(contentType: String? = nil, contentEncoding: String? = nil, user: [String: String] = [:]) {
        self.contentType = contentType
        self.contentEncoding = contentEncoding
        self.user = user
    }
}

/// What is known about a stored object without its bytes.
public struct ObjectAttributes: Hashable, Sendable {
    /// The bytes of the whole object.
    public var size: Int
    /// Its version; nil where the store gave none.
    public var eTag: ETag?
    /// What is stored beside the bytes.
    public var metadata: ObjectMetadata
    /// Whether the store said that the ETag is no digest of the bytes, whatever its form: it encrypts with a key of its key
    /// service or of the caller.
    public var isTagOpaque: Bool

    /// Makes attributes.
    public init(size: Int, eTag: ETag?, metadata: ObjectMetadata, isTagOpaque: Bool = false) {
        self.size = size
        self.eTag = eTag
        self.metadata = metadata
        self.isTagOpaque = isTagOpaque
    }
}

/// An object as it was read.
public struct Object: Sendable {
    /// The bytes asked for: all, or a range.
    public var body: BufferSlice
    /// What is known about the object they come from.
    public var attributes: ObjectAttributes

    /// Makes an object.
    public init(body: BufferSlice, attributes: ObjectAttributes) {
        self.body = body
        self.attributes = attributes
    }
}

/// The answer to a `get`.
public enum ObjectRead: Sendable {
    /// The object.
    case object(Object)
    /// The object still has the ETag given as `ifNoneMatch`.
    case unchanged
    /// There is no such object, and the store said exactly that (NoSuchKey).
    case absent
}

/// The answer to a `head`.
public enum ObjectHead: Hashable, Sendable {
    /// The object exists.
    case present(ObjectAttributes)
    /// There is no such object.
    case absent
}

/// What must hold for a `put` to be done.
public enum PutCondition: Hashable, Sendable {
    /// Nothing: the object is written, or overwritten.
    case none
    /// The object must not exist (`If-None-Match: *`).
    case ifAbsent
    /// The object must exist with this ETag (`If-Match`).
    case ifMatch(ETag)
}

/// What became of a mutation that succeeded.
public struct Mutation: Hashable, Sendable {
    /// The version written; nil for a delete, and where the store gave none.
    public var eTag: ETag?
    /// Whether every attempt got its answer.
    ///
    /// False: an earlier attempt ended without one. It may still reach the store, after a later mutation of the same key, and
    /// undo it; so the object has to be confirmed before a flush returns (`BlockStore.flush`).
    public var isSettled: Bool

    /// Makes a report.
    public init(eTag: ETag?, isSettled: Bool) {
        self.eTag = eTag
        self.isSettled = isSettled
    }
}

/// A line of a listing.
public struct ObjectListEntry: Hashable, Sendable {
    /// The object's full name.
    public var key: ObjectKey
    /// Its bytes.
    public var size: Int
    /// Its version; nil where the list has none.
    public var eTag: ETag?

    /// Makes a line.
    public init(key: ObjectKey, size: Int, eTag: ETag?) {
        self.key = key
        self.size = size
        self.eTag = eTag
    }
}

/// A page of a listing.
public struct ObjectListPage: Hashable, Sendable {
    /// The objects, in ascending order of their keys.
    public var entries: [ObjectListEntry]
    /// Where the next page starts: the key to pass as `after`; nil when this page is the last.
    public var next: ObjectKey?

    /// Makes a page.
    public init(entries: [ObjectListEntry], next: ObjectKey?) {
        self.entries = entries
        self.next = next
    }
}
