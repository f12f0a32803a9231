// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import DataPath
internal import Glibc

/// What tells one state of an object from another.
enum ObjectVersion: Equatable, Sendable {
    /// There is no object.
    case absent
    /// An object with this strong tag.
    case tag(ETag, size: Int)
    /// An object with these bytes, by their SHA-256: where the store gave no tag, a weak one, or no answer.
    case digest([UInt8], size: Int)
    /// An object with exactly these bytes: those of a put under way.
    case body(BufferSlice)

    /// The version of an object that was put, by the tag in the answer if that tells bytes apart.
    static func written(_ body: BufferSlice, _ eTag: ETag?) -> ObjectVersion {
        if let eTag, eTag.isStrong { return .tag(eTag, size: body.count) }
        return .digest(of: body)
    }

    /// The version of an object with these bytes, whatever its tag.
    static func digest(of body: BufferSlice) -> ObjectVersion {
        .digest(body.withBytes { Digest.sha256.hash($0) }, size: body.count)
    }

    /// Whether this is the absence of the object.
    var isAbsent: Bool { self == .absent }

    /// The size of the object; nil when it is absent.
    var size: Int? {
        switch self {
        case .absent: nil
        case .tag(_, let size), .digest(_, let size): size
        case .body(let body): body.count
        }
    }

    /// The tag, where the version is known by one.
    var tag: ETag? {
        if case .tag(let tag, _) = self { tag } else { nil }
    }

    /// Whether an answer with the bytes `range` of the object (nil: all) is one of this version.
    ///
    /// A digest tells nothing of a part, so whoever may have to compare one reads the whole object.
    func matches(_ object: Object, range: Range<Int>?) -> Bool {
        switch self {
        case .absent: false
        case .tag(let tag, _): object.attributes.eTag?.strong == tag
        case .digest(_, let size): range == nil && object.body.count == size && .digest(of: object.body) == self
        case .body(let body):
            object.attributes.size == body.count
                && Self.isEqual(object.body, range.map { body.slice($0.clamped(to: 0..<body.count)) } ?? body)
        }
    }

    /// Whether these attributes can be those of this version; without a tag only the size speaks.
    func matches(_ attributes: ObjectAttributes) -> Bool {
        switch self {
        case .absent: false
        case .tag(let tag, _): attributes.eTag?.strong == tag
        case .digest(_, let size): attributes.size == size
        case .body(let body): attributes.size == body.count
        }
    }

    /// Whether it is the same by its form: a tag and a digest of the same bytes are not.
    static func == (left: ObjectVersion, right: ObjectVersion) -> Bool {
        switch (left, right) {
        case (.absent, .absent): true
        case (.tag(let left, _), .tag(let right, _)): left == right
        case (.digest(let left, _), .digest(let right, _)): left == right
        case (.body(let left), .body(let right)): isEqual(left, right)
        default: false
        }
    }

    private static func isEqual(_ left: BufferSlice, _ right: BufferSlice) -> Bool {
        guard left.count == right.count else { return false }
        return left.withBytes { left in
            right.withBytes { right in
                guard let first = left.baseAddress, let second = right.baseAddress else { return true }
                return memcmp(first, second, left.count) == 0
            }
        }
    }
}

extension ETag {
    /// Whether equal tags mean equal bytes.
    var isStrong: Bool { !text.hasPrefix("W/") }

    /// The tag without its `W/`: a proxy that changes the form of an answer puts that in front of the store's tag, which still
    /// names the version (RFC 9110 section 8.8.3.2, weak comparison).
    var strong: ETag { isStrong ? self : ETag(String(text.dropFirst(2))) }
}
