// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import S3

/// The examples of "Signing and Authenticating REST Requests (AWS signature version 2)".
@Suite("Signature version 2")
struct SignatureV2Tests {
    private func signature(of text: String) -> String {
        SignatureV2.signature(
            of: text, key: SignatureV2.signingKey(secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
    }

    @Test("a GET of an object is signed as published")
    func getObject() {
        let text = SignatureV2.stringToSign(
            method: "GET", resource: "/johnsmith/photos/puppy.jpg", query: [],
            headers: [HTTPField("date", "Tue, 27 Mar 2007 19:36:42 +0000")])
        #expect(signature(of: text) == "bWq2s1WEIj+Ydj0vQ697zp+IXMU=")
    }

    @Test("a PUT of an object is signed with its content type")
    func putObject() {
        let text = SignatureV2.stringToSign(
            method: "PUT", resource: "/johnsmith/photos/puppy.jpg", query: [],
            headers: [HTTPField("content-type", "image/jpeg"), HTTPField("date", "Tue, 27 Mar 2007 21:15:45 +0000")])
        #expect(signature(of: text) == "MyyxeRY7whkBe+bq8fHCL/2kKUg=")
    }

    @Test("a list is signed without its parameters")
    func list() {
        let text = SignatureV2.stringToSign(
            method: "GET", resource: "/johnsmith/", query: [("prefix", "photos"), ("max-keys", "50"), ("marker", "puppy")],
            headers: [HTTPField("date", "Tue, 27 Mar 2007 19:42:41 +0000")])
        #expect(signature(of: text) == "htDYFYduRNen8P9ZfE/s9SuKy0U=")
    }

    @Test("a sub-resource is part of what is signed")
    func subresource() {
        let text = SignatureV2.stringToSign(
            method: "GET", resource: "/johnsmith/", query: [("acl", nil)],
            headers: [HTTPField("date", "Tue, 27 Mar 2007 19:44:46 +0000")])
        #expect(signature(of: text) == "c2WLPFtWHVgbEmeEG93a4cG37dM=")
    }

    @Test("a batch delete is signed with its sub-resource, its MD5 and the x-amz headers in order")
    func batchDelete() {
        let text = SignatureV2.stringToSign(
            method: "POST", resource: "/b", query: [("delete", nil)],
            headers: [
                HTTPField("content-md5", "MD5"), HTTPField("content-type", "application/xml"),
                HTTPField("x-amz-storage-class", "STANDARD"), HTTPField("x-amz-acl", "private"), HTTPField("date", "DATE"),
            ])
        #expect(text == "POST\nMD5\napplication/xml\nDATE\nx-amz-acl:private\nx-amz-storage-class:STANDARD\n/b?delete")
    }
}
