// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
public import ObjectStores
internal import Synchronization

extension S3Client {
    /// Reads an object or a range of it; see ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    ///
    /// - Source: Amazon S3 API Reference, GetObject.
    public func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        precondition(range.map { !$0.isEmpty && $0.lowerBound >= 0 } ?? true, "HTTP has no empty ranges")
        let operation = S3Operation("read", key, in: settings.endpoint.bucket, isMutation: false)
        var request = request(.get, key)
        if let range {
            request.add("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")
        }
        if let ifMatch { request.add("if-match", ifMatch.quoted) }
        if let ifNoneMatch { request.add("if-none-match", ifNoneMatch.quoted) }
        // Names what objects are stored with, so that nobody on the way decodes them. Proxies rewrite this header (that of
        // Google's storage always does), so it must not be part of the signature.
        if let accepted = settings.acceptEncoding {
            request.unsignedHeaders.append(HTTPField("accept-encoding", accepted))
        }
        let response = try await send(request, for: operation)
        switch response.status {
        case 200: return .object(try whole(response, cutTo: range, operation))
        case 206: return .object(try part(response, range, operation))
        case 304 where ifNoneMatch != nil: return .unchanged
        default:
            let refusal = refusal(response, to: operation)
            if refusal.isNoSuchKey { return .absent }
            throw refusal.objectStoreError
        }
    }

    /// Asks for an object's attributes; see ``ObjectStore/head(_:_:)``.
    ///
    /// The answer to a HEAD has no body, so a refusal does not tell a missing object from a missing bucket or a wrong
    /// signature, nor where a redirect leads. A GET of the first byte then asks once more, and its body says why.
    ///
    /// - Source: Amazon S3 API Reference, HeadObject.
    public func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        let operation = S3Operation("look up", key, in: settings.endpoint.bucket, isMutation: false)
        let response = try await send(request(.head, key), for: operation)
        switch response.status {
        case 200:
            guard let size = response.header("content-length").flatMap({ Int($0) }), size >= 0 else {
                throw operation.malformed("the answer has no length")
            }
            return .present(attributes(response, size: size))
        case 301, 302, 307, 308, 400, 401, 403, 404:
            switch try await get(key, range: 0..<1, ifMatch: nil, ifNoneMatch: nil, context) {
            case .absent: return .absent
            case .object(let object): return .present(object.attributes)  // written in between
            case .unchanged: throw operation.malformed("the server answered 304 to an unconditional request")
            }
        default: throw refusal(response, to: operation).objectStoreError
        }
    }

    /// A request about one object.
    func request(_ method: HTTPMethod, _ key: ObjectKey) -> S3Request {
        S3Request(
            method: method, path: settings.endpoint.path(of: key.name), answerSizeMax: objectSizeMax.load(ordering: .relaxed))
    }

    /// A 200: the whole object, also where the server did not heed a range.
    private func whole(
        _ response: HTTPResponse, cutTo range: Range<Int>?, _ operation: S3Operation
    ) throws(ObjectStoreError) -> Object {
        let all = BufferSlice(response.body)
        let attributes = attributes(response, size: all.count)
        guard let range else { return Object(body: all, attributes: attributes) }
        guard range.lowerBound < all.count else {
            throw operation.error(.unexpectedStatus, "the range starts beyond its end", outcomeIsUnknown: false)
        }
        return Object(body: all.slice(range.clamped(to: 0..<all.count)), attributes: attributes)
    }

    /// A 206: exactly the bytes asked for, cut off at the object's end.
    private func part(
        _ response: HTTPResponse, _ range: Range<Int>?, _ operation: S3Operation
    ) throws(ObjectStoreError) -> Object {
        guard let range, let content = response.header("content-range").flatMap(ContentRange.init) else {
            throw operation.malformed("the answer is a part of the object that was not asked for")
        }
        let body = BufferSlice(response.body)
        guard content.bytes == range.clamped(to: 0..<content.size), content.bytes.count == body.count else {
            throw operation.malformed("the answer is another part of the object than was asked for")
        }
        return Object(body: body, attributes: attributes(response, size: content.size))
    }

    private func attributes(_ response: HTTPResponse, size: Int) -> ObjectAttributes {
        var metadata = ObjectMetadata(
            contentType: response.header("content-type"), contentEncoding: response.header("content-encoding"))
        let prefix = "x-amz-meta-"
        for header in response.headers where header.name.hasPrefix(prefix) {
            metadata.user[String(header.name.dropFirst(prefix.count))] = header.value
        }
        return ObjectAttributes(
            size: size, eTag: response.header("etag").flatMap(ETag.init(header:)), metadata: metadata,
            isTagOpaque: Self.isTagOpaque(response))
    }
}

extension S3Client {
    /// Whether the ETag of an answer is no digest of the bytes, however it looks: the store encrypts the object with a key of
    /// its key service, or of the caller.
    ///
    /// - Source: Amazon S3 API Reference, Common Response Headers, ETag.
    private static func isTagOpaque(_ response: HTTPResponse) -> Bool {
        let encryption = response.header("x-amz-server-side-encryption")?.lowercased()
        return encryption == "aws:kms" || encryption == "aws:kms:dsse"
            || response.header("x-amz-server-side-encryption-customer-algorithm") != nil
    }
}

/// The Content-Range of a 206: `bytes 0-9/443`.
///
/// - Source: RFC 9110 section 14.4.
struct ContentRange: Hashable {
    /// Which bytes the body holds.
    let bytes: Range<Int>
    /// The size of the whole object.
    let size: Int

    /// Reads the header's value.
    ///
    /// - Returns: nil when it has another unit, no size, or makes no sense.
    init?(_ value: String) {
        let words = value.split(separator: " ")
        guard words.count == 2, words[0] == "bytes" else { return nil }
        let numbers = words[1].split(whereSeparator: { $0 == "-" || $0 == "/" }).map { Int($0) }
        guard numbers.count == 3, let first = numbers[0], let last = numbers[1], let size = numbers[2],
            first >= 0, first <= last, last < size
        else { return nil }
        bytes = first..<last + 1
        self.size = size
    }
}
