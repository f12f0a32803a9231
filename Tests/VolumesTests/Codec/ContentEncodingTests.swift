// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing
@testable import Volumes

@Suite("Content-Encoding")
struct ContentEncodingTests {
    @Test(
        "elements stand between commas, blanks and tabs, as many as there are",
        arguments: [
            ("deflate, encrypt-AES-128-CBC", ["deflate", "encrypt-AES-128-CBC"]),
            ("deflate,encrypt-AES-128-CBC", ["deflate", "encrypt-AES-128-CBC"]),
            ("\tdeflate ,\t encrypt-AES-128-CBC ,", ["deflate", "encrypt-AES-128-CBC"]),
            ("deflate encrypt-X", ["deflate", "encrypt-X"]), ("", []), (" , ,\t", []), ("zstd", ["zstd"]),
            ("aws-chunked", []), ("aws-chunked,zstd", ["zstd"]), ("AWS-chunked", ["AWS-chunked"]),
        ])
    func parse(text: String, elements: [String]) {
        #expect(ContentEncoding(parsing: text).elements == elements)
    }

    @Test("the header has blanks, as the C program writes it, and the authenticated text has none")
    func print() {
        let encoding = ContentEncoding(elements: ["deflate", "encrypt-AES-128-CBC"])
        #expect(encoding.text == "deflate, encrypt-AES-128-CBC")
        #expect(encoding.canonicalText == "deflate,encrypt-AES-128-CBC")
        #expect(ContentEncoding(parsing: encoding.text) == encoding)
    }

    @Test(
        "what can be read is known before an object is seen",
        arguments: [
            ("", nil), ("identity", nil), ("DEFLATE", nil), ("zstd", nil), ("deflate, encrypt-aes256", nil),
            ("encrypt-AES-128-CBC", nil), ("Zstd,Encrypt-aes-256-gcm", nil), ("gzip", "gzip"), ("deflate,zstd", "zstd"),
            ("encrypt-AES-128-CBC, deflate", "deflate"), ("deflate, encrypt-CAMELLIA-256-CBC", "encrypt-CAMELLIA-256-CBC"),
            ("deflate, encrypt-AES-128-CTR", "encrypt-AES-128-CTR"), ("encrypt-", "encrypt-"),
        ])
    func readable(text: String, unreadable: String?) {
        #expect(ContentEncoding(parsing: text).firstUnreadable == unreadable)
    }

    @Test("what an upload in chunks leaves in front of the list is passed over, there and once", arguments: CodecFixture.all)
    func chunkedUpload(fixture: CodecFixture) throws {
        let form = fixture.object(fixture.block(), of: 5)
        let list = form.contentEncoding
        func spoilt(_ text: String) -> StoredForm {
            StoredForm(body: form.body, contentEncoding: text, user: form.user)
        }
        let front = spoilt((["aws-chunked"] + [list].compactMap(\.self)).joined(separator: ","))
        #expect(try front.decoded(by: fixture.codec, as: 5) == fixture.block())
        for text in ["aws-chunked, aws-chunked, ", "AWS-Chunked, ", "aws-chunkef, "].map({ $0 + (list ?? "") }) {
            #expect(spoilt(text).failure(in: fixture.codec, as: 5)?.kind == .unknownEncoding || list == nil, "\(text)")
            #expect(spoilt(text).failure(in: fixture.codec, as: 5) != nil, "\(text)")
        }
        if let list { #expect(spoilt(list + ", aws-chunked").failure(in: fixture.codec, as: 5) != nil) }
    }

    @Test("a list longer than any writer's is read and refused like a short one")
    func long() {
        let text = "deflate, encrypt-CAMELLIA-256-CBC, " + String(repeating: "deflate, ", count: 100_000)
        let form = StoredForm(body: [1, 2, 3], contentEncoding: text, user: [:])
        for fixture in CodecFixture.all {
            let error = form.failure(in: fixture.codec, as: 3)
            #expect((error?.message.utf8.count ?? 1000) < 500, "\(fixture)")
        }
    }
}
