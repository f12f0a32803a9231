// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc
import Logging
import ObjectStores
import StoreTesting
import Testing

@testable import S3

/// Runs against a real S3 service when the environment names one, as the project's RGW script prints it: S3_ENDPOINT,
/// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; S3_CA_FILE where its certificate is its own. Uses two buckets of its own, which must
/// be allowed to be made. In an integration run with CI=true it fails when no service is named.
@Suite("S3 client on a real store", .enabled(if: RealStore.endpoint != nil || RealStore.mustBeThere), .serialized)
struct RealStoreTests {
    @Test(
        "the S3 client keeps the contract of object stores",
        arguments: ObjectStoreContract.all + ObjectStoreContract.severalClients)
    func keepsContract(_ contract: ObjectStoreContract) async throws {
        let store = try await RealStore(.v4, bucket: RealStore.contractBucket)
        defer { store.stop() }
        try await store.empty()
        try await contract.check(store.client)
        try await store.empty()
    }

    static let strangeKeys = [
        "a blank", "a+plus", "ü/日本/🙂", "100%", "%20", "what?", "#1", "a&b", "\"quoted\"", "it's", "<tag>", "semi;colon",
        "a=b", "comma,", "star*", "(paren)", "back\\slash", "tilde~", "a//b", "./dot", "a/../b", "new\nline", "[x]", "{y}|z^`",
        "@:$!",
    ]

    @Test("strange keys are written, read, listed and deleted under their own names", arguments: SignatureVersion.allCases)
    func strangeKeys(version: SignatureVersion) async throws {
        let store = try await RealStore(version)
        defer { store.stop() }
        let prefix = "strange \(version) +ü/"
        for key in Self.strangeKeys {
            let written = try await store.put(prefix + key, key)
            let read = try #require(try await store.get(prefix + key).object)
            #expect(read.body.bytes == Array(key.utf8) && read.attributes.eTag == written.eTag)
        }
        var listed: [String] = []
        var after: ObjectKey?
        repeat {
            let page = try await store.client.list(prefix: prefix, after: after, limit: 7, .background)
            listed += page.entries.map(\.key.name)
            for entry in page.entries {
                let attributes = try await store.get(entry.key.name).object?.attributes
                #expect(entry.eTag == attributes?.eTag && entry.eTag != nil, "a listed version is that of a read")
            }
            after = page.next
        } while after != nil
        #expect(listed == Self.strangeKeys.map { ObjectKey(prefix + $0) }.sorted().map(\.name))
        let half = listed.count / 2
        _ = try await store.client.delete(listed[..<half].map { ObjectKey($0) }, .background)
        for key in listed[half...] { _ = try await store.client.delete([ObjectKey(key)], .background) }
        for key in listed { #expect(try await store.get(key).isAbsent) }
        #expect(try await store.client.list(prefix: prefix, after: nil, limit: 1000, .background).entries.isEmpty)
    }

    @Test("conditions are honoured on put and get")
    func conditions() async throws {
        let store = try await RealStore(.v4)
        defer { store.stop() }
        _ = try await store.client.delete([ObjectKey("c")], .foreground)
        let first = try #require(try await store.put("c", "1", .ifAbsent).eTag)
        for condition in [PutCondition.ifAbsent, .ifMatch(ETag("0123456789abcdef0123456789abcdef"))] {
            let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
                try await store.put("c", "2", condition)
            }
            #expect(error.code == .preconditionFailed)
        }
        let second = try #require(try await store.put("c", "2", .ifMatch(first)).eTag)
        #expect(try await store.get("c", ifMatch: second).text == "2")
        #expect(try await store.get("c", ifNoneMatch: second).isUnchanged)
        #expect(try await store.get("c", ifNoneMatch: first).text == "2")
        let stale = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await store.get("c", ifMatch: first) }
        #expect(stale.code == .preconditionFailed)
        _ = try await store.client.delete([ObjectKey("c")], .foreground)
        let gone = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await store.put("c", "3", .ifMatch(second))
        }
        #expect(gone.code == .preconditionFailed)
    }

    @Test("ranges, attributes, and a thousand keys deleted at once")
    func rest() async throws {
        let store = try await RealStore(.v4)
        defer { store.stop() }
        let metadata = ObjectMetadata(contentType: "a/b", contentEncoding: "deflate", user: ["s3backer-filesize": "17"])
        let body = BufferSlice(Buffer(copying: Array("0123456789".utf8)))
        let eTag = try await store.client.put(ObjectKey("r"), body, metadata, .none, .foreground).eTag
        #expect(
            try await store.client.head(ObjectKey("r"), .foreground)
                == .present(ObjectAttributes(size: 10, eTag: eTag, metadata: metadata)))
        let part = try #require(try await store.get("r", range: 7..<20).object)
        #expect(part.body.bytes == Array("789".utf8))
        #expect(part.attributes == ObjectAttributes(size: 10, eTag: eTag, metadata: metadata))
        #expect(try await store.client.head(ObjectKey("none"), .foreground) == .absent)
        let keys = (0..<1001).map { ObjectKey("batch/\($0)") }
        for key in keys.prefix(30) { _ = try await store.put(key.name, "x") }
        _ = try await store.client.delete(keys, .background)
        #expect(try await store.client.list(prefix: "batch/", after: nil, limit: 1000, .background).entries.isEmpty)
    }

    @Test("a wrong secret, a missing bucket and an anonymous request are told apart")
    func refusals() async throws {
        let wrong = try await RealStore(.v4, secretKey: "wrong")
        defer { wrong.stop() }
        let signature = try await S3ClientFixture.error { () throws(ObjectStoreError) in
            try await wrong.client.head(ObjectKey("x"), .foreground)
        }
        #expect(signature.code == .unauthorized && signature.message.contains("SignatureDoesNotMatch"))
        let missing = try await RealStore(.v4, bucket: "no-such-bucket")
        defer { missing.stop() }
        for error in [
            try await S3ClientFixture.error { () throws(ObjectStoreError) in try await missing.get("x") },
            try await S3ClientFixture.error { () throws(ObjectStoreError) in
                try await missing.client.head(ObjectKey("x"), .foreground)
            },
            try await S3ClientFixture.error { () throws(ObjectStoreError) in try await missing.put("x", "y") },
        ] { #expect(error.code == .noSuchBucket, "\(error)") }
        let anonymous = try await RealStore(.v4, isSigned: false)
        defer { anonymous.stop() }
        let refused = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await anonymous.get("x") }
        #expect(refused.code == .forbidden && refused.message.contains("missing object"))
    }
}

/// A client for the real store that the environment names.
struct RealStore {
    static let endpoint = variable("S3_ENDPOINT")
    /// Whether an environment that names no service is a failure.
    static let mustBeThere = variable("S3BACKER_INTEGRATION") == "1" && variable("CI") == "true"
    /// Emptied before each case of the contract.
    static let contractBucket = "s3-contract-tests"
    private static let bucket = "s3-tests"

    let client: S3Client
    private let transport: CurlTransport

    init(
        _ version: SignatureVersion, bucket: String = RealStore.bucket, secretKey: String? = nil, isSigned: Bool = true
    ) async throws {
        let url = try #require(Self.endpoint, "no S3 service: S3_ENDPOINT is not set")
        let id = try #require(Self.variable("AWS_ACCESS_KEY_ID"))
        let key = try #require(Self.variable("AWS_SECRET_ACCESS_KEY"))
        let endpoint = try Endpoint(
            baseURL: url + "/", bucket: bucket, addressing: .path, region: "us-east-1")
        transport = try CurlFixture.transport { $0.caFile = Self.variable("S3_CA_FILE") }
        let good = Credentials(accessID: id, secretKey: key, sessionToken: nil)
        if [Self.bucket, Self.contractBucket].contains(bucket) {
            let signer = RequestSigner(endpoint: endpoint, credentials: good, version: .v4)
            let make = S3Request(method: .put, path: endpoint.bucketPath, answerSizeMax: 4096)
            let status = try await transport.send(signer.sign(make, at: SystemTimeline().unixTime)).status
            try #require(status == 200 || status == 409)
        }
        let used = secretKey.map { Credentials(accessID: id, secretKey: $0, sessionToken: nil) } ?? good
        var settings = S3Settings(endpoint: endpoint, credentials: isSigned ? used : nil)
        settings.signatureVersion = version
        client = S3Client(
            settings: settings, transport: transport, pool: BufferPool(retainedBytesMax: 0), timeline: SystemTimeline(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    func stop() { transport.shutdown() }

    /// Deletes all objects of the bucket.
    func empty() async throws(ObjectStoreError) {
        while true {
            let page = try await client.list(prefix: "", after: nil, limit: 1000, .background)
            guard !page.entries.isEmpty else { return }
            _ = try await client.delete(page.entries.map(\.key), .background)
        }
    }

    func put(_ key: String, _ text: String, _ condition: PutCondition = .none) async throws(ObjectStoreError) -> Mutation {
        let body = BufferSlice(Buffer(copying: Array(text.utf8)))
        return try await client.put(ObjectKey(key), body, ObjectMetadata(), condition, .foreground)
    }

    func get(
        _ key: String, range: Range<Int>? = nil, ifMatch: ETag? = nil, ifNoneMatch: ETag? = nil
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await client.get(ObjectKey(key), range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, .foreground)
    }

    static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
