// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import Testing

@testable import S3

@Suite("S3 client: list")
struct S3ListTests {
    static func page(
        _ keys: [String], isTruncated: Bool = false, head: String = "<KeyCount>1</KeyCount>", isEncoded: Bool = false
    ) -> String {
        let contents = keys.map { "<Contents><Key>\($0)</Key><Size>4096</Size><ETag>&quot;e&quot;</ETag></Contents>" }
        let encoding = isEncoded ? "<EncodingType>url</EncodingType>" : ""
        return "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
            + "\(head)\(encoding)<IsTruncated>\(isTruncated)</IsTruncated>\(contents.joined())</ListBucketResult>"
    }

    private func list(
        _ fixture: S3ClientFixture, prefix: String = "", after: String? = nil
    ) async throws(ObjectStoreError) -> ObjectListPage {
        try await fixture.client.list(prefix: prefix, after: after.map { ObjectKey($0) }, limit: 1000, .background)
    }

    @Test("a list asks for version 2, with prefix and start")
    func version2() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200, text: Self.page(["a b", "aü"])) }
        #expect(try await list(fixture, prefix: "a", after: "a").entries.map(\.key.name) == ["a b", "aü"])
        #expect(
            fixture.transport.requests.map(\.url)
                == ["http://s3.example.com/b?encoding-type=url&list-type=2&max-keys=1000&prefix=a&start-after=a"])
    }

    @Test("keys come encoded or plain, as the answer itself says")
    func encoding() async throws {
        let encoded = try S3ClientFixture { _ in
            HTTPResponse(200, text: Self.page(["a+b%2Bc/%C3%BC%25"], isEncoded: true))
        }
        #expect(try await list(encoded).entries.map(\.key.name) == ["a b+c/ü%"])
        let plain = try S3ClientFixture { _ in HTTPResponse(200, text: Self.page(["a+b%2B&amp;&lt;"])) }
        let page = try await list(plain)
        #expect(page.entries == [ObjectListEntry(key: ObjectKey("a+b%2B&<"), size: 4096, eTag: ETag("e"))])
        #expect(page.next == nil)
    }

    @Test("a truncated page continues after its last key")
    func truncated() async throws {
        let fixture = try S3ClientFixture { _ in HTTPResponse(200, text: Self.page(["a", "b"], isTruncated: true)) }
        #expect(try await list(fixture).next == ObjectKey("b"))
    }

    @Test("a server that refuses version 2, or answers version 1, is asked for version 1 from then on")
    func fallback() async throws {
        let oldPage = Self.page(["k1"], head: "<Marker></Marker>")
        for answer in [
            HTTPResponse.error(501, "NotImplemented"), .error(400, "InvalidArgument"), HTTPResponse(200, text: oldPage),
        ] {
            let fixture = try S3ClientFixture { request in
                request.url.contains("list-type") ? answer : HTTPResponse(200, text: oldPage)
            }
            #expect(try await list(fixture, after: "k0").entries.map(\.key.name) == ["k1"])
            #expect(try await list(fixture, after: "k0").entries.count == 1)
            let urls = fixture.transport.requests.map(\.url)
            #expect(urls.count == 3 && urls.filter { $0.contains("list-type") }.count == 1)
            #expect(urls.last == "http://s3.example.com/b?encoding-type=url&marker=k0&max-keys=1000&prefix=")
        }
    }

    @Test("a refusal that has nothing to do with the version stays the error")
    func noFallback() async throws {
        let refused = try S3ClientFixture { _ in .error(400, "ExpiredToken") }
        let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await list(refused) }
        #expect(error.code == .unauthorized)
        let bad = try S3ClientFixture { request in
            request.url.contains("list-type") ? .error(400, "Bad2") : .error(400, "Bad1")
        }
        let first = try await S3ClientFixture.error { () throws(ObjectStoreError) in try await list(bad) }
        #expect(first.message.contains("Bad2"))
    }

    @Test("a page that was not asked for, is empty but truncated, or is no page, is malformed")
    func malformed() async throws {
        for text in [
            Self.page(["a", "x"], isTruncated: true), Self.page(["p2", "p1"]), Self.page(["p0"]),
            Self.page([], isTruncated: true), "<html><body>", "", "<Error><Code>x</Code></Error>",
            "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>",
            Self.page(["p%zz"], isEncoded: true), Self.page(["p%ff"], isEncoded: true), Self.page([""]),
            "<ListBucketResult><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>p1</Key></Contents>"
                + "</ListBucketResult>",
        ] {
            let fixture = try S3ClientFixture { _ in HTTPResponse(200, text: text) }
            let error = try await S3ClientFixture.error { () throws(ObjectStoreError) in
                try await list(fixture, prefix: "p", after: "p0")
            }
            #expect(error.code == .malformedAnswer, "\(text)")
        }
    }

    @Test("a document type, entities and deep nesting are refused")
    func hostile() {
        for text in [
            "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><Error><Code>&a;</Code></Error>",
            String(repeating: "<a>", count: 100) + String(repeating: "</a>", count: 100),
            "<Error><Code>&a;</Code></Error>",
        ] {
            #expect(throws: XMLReader.Malformed.self) {
                try Array(text.utf8).withUnsafeBytes { try XMLReader.read($0) { _, _ in } }
            }
        }
    }

    @Test("mutated answers never crash the parsers, and what they accept is sound")
    func fuzz() {
        var random = SplitMix64(seed: 0x5eed_0001)
        let pages = [
            Self.page(["a", "b%20c"], isTruncated: true, isEncoded: true), Self.page(["a&amp;b"], head: "<Marker/>"),
            "<Error><Code>NoSuchKey</Code><Message>The key</Message><Region>r</Region></Error>",
            "<DeleteResult><Error><Key>k</Key><Code>c</Code><Message>m</Message></Error></DeleteResult>",
        ]
        var pieces: [[UInt8]] = [[0], [0xff], [0xc3], [0x3c]]
        for page in pages { pieces += page.split(separator: ">").map { Array(($0 + ">").utf8) } }
        for round in 0..<5_000 {
            var text = Array(pages[round % pages.count].utf8)
            for _ in 0...random.below(4) { mutate(&text, pieces, &random) }
            text.withUnsafeBytes { bytes in
                if let page = try? S3ListPage(parsing: bytes) {
                    #expect(page.entries.allSatisfy { !$0.key.name.isEmpty && $0.size >= 0 }, "seed 0x5eed0001 round \(round)")
                }
                if let error = S3ErrorDocument(parsing: bytes) { #expect(!error.code.isEmpty && !error.code.contains("\n")) }
                _ = try? S3DeleteDocument.failures(parsing: bytes)
            }
        }
    }

    private func mutate(_ text: inout [UInt8], _ pieces: [[UInt8]], _ random: inout SplitMix64) {
        let at = random.below(text.count + 1)
        switch random.below(4) {
        case 0: text.removeSubrange(at..<min(text.count, at + random.below(20)))
        case 1: text.insert(contentsOf: pieces[random.below(pieces.count)], at: at)
        case 2: if at < text.count { text[at] = UInt8(truncatingIfNeeded: random.next()) }
        default: text.removeSubrange(at...)
        }
    }
}

/// A small generator whose whole state is its seed.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { bound == 0 ? 0 : Int.random(in: 0..<bound, using: &self) }
}
