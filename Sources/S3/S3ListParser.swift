// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ObjectStores

/// A page of a bucket's list, as either version of the request answers it.
///
/// ```
///   ListBucketResult / IsTruncated, EncodingType, KeyCount (version 2 only)
///                    / Contents... / Key, Size, ETag
/// ```
/// - Source: Amazon S3 API Reference, ListObjectsV2 and ListObjects.
struct S3ListPage: Hashable {
    /// The objects in the answer's order, keys decoded.
    var entries: [ObjectListEntry] = []
    /// Whether more objects follow.
    var isTruncated = false
    /// Whether the server answered version 2, which counts its keys.
    var isVersion2 = false

    /// Why an answer is no page; the words stand after "the answer".
    struct Malformed: Error, Hashable, Sendable {
        let description: String
    }

    /// Reads the body of an answer.
    ///
    /// - Throws: When it is not a whole and sound page.
    init(parsing bytes: UnsafeRawBufferPointer) throws(Malformed) {
        var walk = Walk()
        do {
            try XMLReader.read(bytes) { walk.hear($0, $1) }
        } catch {
            throw Malformed(description: "is not whole XML")
        }
        guard walk.isList else { throw Malformed(description: "is not a list of a bucket") }
        guard let truncated = walk.truncated else { throw Malformed(description: "does not say whether it is the last page") }
        isTruncated = truncated
        isVersion2 = walk.isVersion2
        for found in walk.found {
            guard let text = found.key, let key = walk.isEncoded ? PercentEncoding.decode(text) : text, !key.isEmpty else {
                throw Malformed(description: "lists an object without a readable key")
            }
            guard let size = found.size, size >= 0 else { throw Malformed(description: "lists an object without its size") }
            entries.append(ObjectListEntry(key: ObjectKey(key), size: size, eTag: found.eTag))
        }
    }

    private struct Found {
        var key: String?
        var size: Int?
        var eTag: ETag?
    }

    /// What was heard so far.
    private struct Walk {
        var isList = false
        var isEncoded = false
        var isVersion2 = false
        var truncated: Bool?
        var found: [Found] = []

        mutating func hear(_ path: [String], _ event: XMLReader.Event) {
            switch event {
            case .begin:
                if path.count == 1 { isList = path[0] == "ListBucketResult" }
                if path.count == 2, isList, path[1] == "Contents" { found.append(Found()) }
            case .end(let text):
                guard isList else { return }
                if path.count == 2 { hearField(path[1], text) }
                if path.count == 3, path[1] == "Contents" { hearObjectField(path[2], text) }
            }
        }

        private mutating func hearField(_ name: String, _ text: String) {
            switch name {
            case "IsTruncated": truncated = text == "true" ? true : text == "false" ? false : nil
            case "EncodingType": isEncoded = text == "url"
            case "KeyCount": isVersion2 = true
            default: break
            }
        }

        private mutating func hearObjectField(_ name: String, _ text: String) {
            let last = found.count - 1
            switch name {
            case "Key": found[last].key = text
            case "Size": found[last].size = Int(text)
            case "ETag": found[last].eTag = ETag(header: text)
            default: break
            }
        }
    }
}
