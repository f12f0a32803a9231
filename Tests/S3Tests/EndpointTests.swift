// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import S3

@Suite("Endpoint")
struct EndpointTests {
    @Test("a bucket stands in the path or in the host's name, behind the base URL's own path")
    func addressing() throws {
        let path = try Endpoint(
            baseURL: "http://127.0.0.1:7480/gate/way/", bucket: "b", addressing: .path, region: "r")
        #expect(path.url(path: path.path(of: "k"), query: "") == "http://127.0.0.1:7480/gate/way/b/k")
        #expect(path.url(path: path.bucketPath, query: "delete") == "http://127.0.0.1:7480/gate/way/b?delete")
        #expect(path.version2Resource(path.path(of: "k")) == "/gate/way/b/k")
        let host = try Endpoint(
            baseURL: "https://S3.example.COM/", bucket: "b", addressing: .virtualHost, region: "r")
        #expect(host.url(path: host.path(of: "k"), query: "") == "https://b.s3.example.com/k")
        #expect(host.url(path: host.bucketPath, query: "delete") == "https://b.s3.example.com/?delete")
        #expect(host.version2Resource(host.bucketPath) == "/b/")
        #expect(host.host == "b.s3.example.com")
    }

    @Test(
        "the scheme's own port is left out, as libcurl leaves it out of the Host header",
        arguments: [
            ("http://h:80/", "h"), ("https://h:443/", "h"), ("http://h:443/", "h:443"), ("http://[::1]:80/", "[::1]"),
            ("http://[::1]:7480/", "[::1]:7480"), ("http://[::1]/", "[::1]"),
        ])
    func port(baseURL: String, host: String) throws {
        #expect(try Endpoint(baseURL: baseURL, bucket: "b", addressing: .path, region: "r").host == host)
    }

    @Test(
        "a base URL that is none is refused",
        arguments: [
            "", "ftp://h/", "http://h", "http:///", "http://h/x", "http://h:0/", "http://h:99999/", "http://h:x/",
            "http://u:p@h/", "http://h/?a/", "http://h/#a/", "http://h /", "http://h:1:2/", "h/", "http://:80/",
        ])
    func invalid(baseURL: String) {
        #expect(throws: Endpoint.InvalidBaseURL.self) {
            try Endpoint(baseURL: baseURL, bucket: "b", addressing: .path, region: "r")
        }
    }

    @Test("a key is percent-encoded once, and its slashes stay")
    func encoding() throws {
        let endpoint = try Endpoint(baseURL: "http://h/", bucket: "b", addressing: .path, region: "r")
        #expect(
            endpoint.path(of: "a b+c/ü%20?x#y&z='\"/~-_.") == "/b/a%20b%2Bc/%C3%BC%2520%3Fx%23y%26z%3D%27%22/~-_.")
    }

    @Test("the query is sorted and encoded the same way for the URL and for the signature")
    func query() {
        let request = S3Request(
            method: .get, path: "/", query: [("start-after", "a b"), ("delete", nil), ("prefix", ""), ("list-type", "2")],
            answerSizeMax: 0)
        #expect(request.encodedQuery == "delete&list-type=2&prefix=&start-after=a%20b")
        #expect(request.canonicalQuery == "delete=&list-type=2&prefix=&start-after=a%20b")
    }

    @Test("printing credentials never shows a secret")
    func secrets() {
        let credentials = Credentials(accessID: "ID", secretKey: "hush1", sessionToken: "hush2")
        var dumped = ""
        dump(credentials, to: &dumped)
        let optional: Credentials? = credentials
        for text in ["\(credentials)", String(reflecting: credentials), String(describing: optional), dumped] {
            #expect(text.contains("ID") && !text.contains("hush"))
        }
    }

    @Test("dates are spelled and read as RFC 9110 and SigV4 want them")
    func dates() {
        for (seconds, basic, fixed) in [
            (0, "19700101T000000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_827_696, "20000229T123456Z", "Tue, 29 Feb 2000 12:34:56 GMT"),
            (1_369_353_600, "20130524T000000Z", "Fri, 24 May 2013 00:00:00 GMT"),
            (4_107_542_399, "21000228T235959Z", "Sun, 28 Feb 2100 23:59:59 GMT"),
        ] {
            let date = CalendarDate(unixTime: .seconds(seconds))
            #expect(date.basic == basic)
            #expect(date.fixed == fixed)
            #expect(CalendarDate(fixed: fixed) == date)
        }
        #expect(CalendarDate(fixed: "Fri, 24 May 2013 00:00 GMT") == nil)
        #expect(CalendarDate(fixed: "Friday, 24-May-13 00:00:00 GMT") == nil)
    }
}
