// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import ObjectStores
import StoreTesting
import Testing

@testable import S3

/// Headers are read and written byte by byte; here the same is done in the plainest way, character by character.
@Suite("Spelling of headers")
struct HeaderSpellingTests {
    private static let seed: UInt64 = 20_130_524
    private static let pieces = [
        "a", "Z", "7", "-", "_", " ", "  ", "\t", " \t ", "\"", "W/", ":", ";", ",", "é", "\u{e4}", "語", "🙂", "x-amz-", "HTTP/",
        "\u{7f}",
    ]

    private static func text(_ generator: inout SeededGenerator, without excluded: String = "") -> String {
        let allowed = pieces.filter { !excluded.contains($0) }
        return (0..<Int.random(in: 0...12, using: &generator)).map { _ in
            allowed[Int.random(in: allowed.indices, using: &generator)]
        }
        .joined()
    }

    private static func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }

    @Test("what is signed has lower-case names in order, and values with single blanks, whatever the headers look like")
    func canonicalRequest() {
        var generator = SeededGenerator(seed: Self.seed)
        for round in 0..<3_000 {
            let headers = (0..<Int.random(in: 0...8, using: &generator)).map { index in
                HTTPField(Self.text(&generator, without: " \t:") + "\(index)", Self.text(&generator))
            }
            let path = "/b/" + Self.text(&generator)
            let query = Self.text(&generator)
            let request = SignatureV4.canonicalRequest(
                method: "PUT", path: path, query: query, headers: headers, payloadHash: "HASH")
            let plain = headers.map { header in
                (header.name.lowercased(), header.value.split(whereSeparator: Self.isBlank).joined(separator: " "))
            }.sorted { $0.0 < $1.0 }
            let names = plain.map(\.0).joined(separator: ";")
            let lines = plain.map { "\($0.0):\($0.1)\n" }.joined()
            let expected = "PUT\n\(path)\n\(query)\n\(lines)\n\(names)\nHASH"
            #expect(String(decoding: request.text, as: UTF8.self) == expected, "seed \(Self.seed), round \(round)")
            #expect(request.signedHeaders == names, "seed \(Self.seed), round \(round)")
        }
    }

    @Test("a line of an answer's head has its name in lower case, and its value without blanks at the ends")
    func line() {
        var generator = SeededGenerator(seed: Self.seed)
        for round in 0..<3_000 {
            let name = Self.text(&generator, without: ":")
            let value = Self.text(&generator)
            let end = ["\r\n", "\n", "", " \t\r\n"][Int.random(in: 0..<4, using: &generator)]
            let field = Array((name + ":" + value + end).utf8).withUnsafeBytes { HTTPField(line: $0) }
            var trimmed = value[...]
            while let first = trimmed.first, Self.isBlank(first) { trimmed.removeFirst() }
            while let last = trimmed.last, Self.isBlank(last) { trimmed.removeLast() }
            #expect(field == HTTPField(name.lowercased(), String(trimmed)), "seed \(Self.seed), round \(round)")
        }
    }

    @Test(
        "a line of an answer's head is taken for what its bytes say, also where they are odd",
        arguments: [
            ("", nil), ("\r\n", nil), ("no colon\r\n", nil), (":\r\n", HTTPField("", "")), ("A: \t \r\n", HTTPField("a", "")),
            ("A:b:c", HTTPField("a", "b:c")), ("A : b", HTTPField("a ", "b")), ("A:\u{301}b", HTTPField("a", "\u{301}b")),
            ("É: \u{301}", HTTPField("é", "\u{301}")), ("A: b\rc\r\r\n", HTTPField("a", "b\rc")),
        ])
    func oddLine(line: String, expected: HTTPField?) {
        #expect(Array(line.utf8).withUnsafeBytes { HTTPField(line: $0) } == expected)
    }

    @Test("a line that is no UTF-8 keeps the rest of its bytes")
    func brokenLine() {
        let line: [UInt8] = [0x41, 0xff, 0x3a, 0x20, 0xc3, 0x20, 0x62, 0xe2, 0x82, 0x0d, 0x0a]
        #expect(line.withUnsafeBytes { HTTPField(line: $0) } == HTTPField("a\u{fffd}", "\u{fffd} b\u{fffd}"))
    }

    @Test("a tag is what stands between the quotes, and nothing that holds blanks or quotes of its own is one")
    func tag() {
        var generator = SeededGenerator(seed: Self.seed)
        for round in 0..<3_000 {
            var value = Self.text(&generator)
            if generator.chance(0.5) { value = "\"" + value + "\"" }
            if generator.chance(0.3) { value = "W/" + value }
            let weak = value.hasPrefix("W/") ? "W/" : ""
            var text = value.dropFirst(weak.count)
            if text.count >= 2, text.first == "\"", text.last == "\"" { text = text.dropFirst().dropLast() }
            let isTag = !text.isEmpty && !text.contains { $0 == "\"" || $0 == "\u{7f}" || Self.isBlank($0) }
            #expect(ETag(header: value)?.text == (isTag ? weak + text : nil), "seed \(Self.seed), round \(round)")
        }
    }

    @Test("a moment is spelled with all its zeros")
    func date() {
        #expect(CalendarDate(unixTime: .seconds(0)).basic == "19700101T000000Z")
        #expect(CalendarDate(unixTime: .seconds(983_404_805)).basic == "20010301T000005Z")
        #expect(CalendarDate(unixTime: .seconds(253_402_300_799)).basic == "99991231T235959Z")
        #expect(CalendarDate(unixTime: .seconds(-62_135_596_800)).basic == "00010101T000000Z")
    }
}
