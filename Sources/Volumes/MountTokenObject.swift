// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
internal import Glibc
public import ObjectStores

/// What the mount token object says.
public struct MountTokenRecord: Hashable, Sendable {
    /// The number.
    public let token: MountToken
    /// The host that wrote it; nil when the body does not say.
    public let host: String?
    /// When, `YYYYMMDDThhmmssZ`; nil when the body does not say.
    public let since: String?

    /// As in messages: `token 0x4f2a8f9c, host "vm", since 20261121T072359Z`.
    public var summary: String {
        var text = "token \(token)"
        if let host { text += ", host \"\(host)\"" }
        if let since { text += ", since \(since)" }
        return text
    }
}

/// The object that marks a volume as mounted: reads and writes it, and decides nothing.
///
/// It is read with GET, not with HEAD: the body tells who holds the token, and the body of a 404 tells a missing object from a
/// missing bucket.
///
/// - Concurrency: safe from anywhere.
/// - Source: Docs/Formats/Direct.md "Mount token".
public struct MountTokenObject: Sendable {
    /// The user metadata that holds the number.
    static let headerName = "s3backer-mount-token"
    /// The Content-Type of the object.
    static let contentType = "text/plain"

    /// Its name.
    let key: ObjectKey
    private let store: any ObjectStore
    private let hostName: String
    private let timeline: any Timeline

    /// - Parameter hostName: What the body names as the holder; without line breaks.
    public init(in store: any ObjectStore, keys: BlockKeyScheme, hostName: String, timeline: any Timeline) {
        self.store = store
        self.key = keys.mountTokenKey
        self.hostName = hostName
        self.timeline = timeline
    }

    /// Reads the object.
    ///
    /// - Returns: Nil when there is none.
    /// - Throws: As ``ObjectStore/get(_:range:ifMatch:ifNoneMatch:_:)``.
    public func read(_ context: IOContext) async throws(ObjectStoreError) -> MountTokenRecord? {
        try await read(from: store, context)
    }

    /// Reads the object from a layer below the store in which it was opened.
    ///
    /// - Throws: As ``read(_:)``.
    func read(from store: any ObjectStore, _ context: IOContext) async throws(ObjectStoreError) -> MountTokenRecord? {
        switch try await store.get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, context) {
        case .absent: return nil
        case .unchanged:
            throw ObjectStoreError(
                .malformedAnswer, "cannot read mount token \"\(key)\": the store says unchanged, unasked",
                outcomeIsUnknown: false)
        case .object(let object):
            let lines = object.body.bytes.prefix(Self.bodyBytesMax).split(separator: UInt8(ascii: "\n")).map(Self.printable)
            return MountTokenRecord(
                token: MountToken.parsing(object.attributes.metadata.user[Self.headerName]),
                host: lines.first, since: lines.dropFirst().first)
        }
    }

    /// Writes the object.
    ///
    /// - Throws: As ``ObjectStore/put(_:_:_:_:_:)``.
    @discardableResult
    func put(_ token: MountToken, _ condition: PutCondition) async throws(ObjectStoreError) -> Mutation {
        let metadata = ObjectMetadata(
            contentType: Self.contentType, user: [Self.headerName: token.headerValue])
        let body = Buffer(copying: Array("\(hostName)\n\(Self.timestamp(timeline.unixTime))\n".utf8))
        return try await store.put(key, BufferSlice(body), metadata, condition, .foreground)
    }

    /// Deletes the object, whoever holds it.
    ///
    /// - Throws: As ``ObjectStore/delete(_:_:)``.
    func delete() async throws(ObjectStoreError) { _ = try await store.delete([key], .foreground) }

    /// What of a body is looked at: a host name and a date, with room to spare.
    private static let bodyBytesMax = 512

    /// A foreign line, fit for a log.
    private static func printable(_ line: some Sequence<UInt8>) -> String {
        String(decoding: line.map { (0x20..<0x7f).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// `YYYYMMDDThhmmssZ` in UTC.
    static func timestamp(_ unixTime: Duration) -> String {
        var seconds = time_t(unixTime.components.seconds)
        var parts = tm()
        // See: 'man 3 gmtime_r'; it fails only for years beyond an Int32.
        _ = gmtime_r(&seconds, &parts)
        let two = { (number: Int32) in (number < 10 ? "0" : "") + String(number) }
        return String(parts.tm_year + 1900) + two(parts.tm_mon + 1) + two(parts.tm_mday) + "T" + two(parts.tm_hour)
            + two(parts.tm_min) + two(parts.tm_sec) + "Z"
    }
}
