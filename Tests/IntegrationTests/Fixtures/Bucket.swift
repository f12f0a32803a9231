// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// An answer to a request of the tests' own.
struct BucketAnswer {
    /// The HTTP status.
    let status: Int
    /// The head lines, names in lower case.
    let headers: [String: String]
    /// The path of a file with the body.
    let bodyPath: String
}

/// A fresh bucket on the gateway, seen through curl and not through the product's own client.
///
/// - Concurrency: for one thread.
final class Bucket {
    /// Its name, new for each test.
    let name: String
    /// The gateway that holds it.
    let gateway: Gateway
    private let workspace: Workspace
    private var bodyCount = 0

    /// Makes the bucket.
    init(in workspace: Workspace) throws {
        gateway = try Gateway.shared.get()
        name = "t-\(UUID().uuidString.prefix(12).lowercased())"
        self.workspace = workspace
        try request("PUT", key: nil).expect(200)
    }

    /// The options every mount of it needs: where it is, and who may.
    ///
    /// - Parameter port: Where to talk to, if not to the gateway itself.
    func flags(port: UInt16? = nil) throws -> [String] {
        let file = try workspace.write("\(gateway.accessID):\(gateway.secret)\n", to: "access")
        return ["--baseURL=http://127.0.0.1:\(port ?? gateway.port)/", "--accessFile=\(file)"]
    }

    /// The keys that begin with a prefix, in order.
    func keys(prefix: String = "") throws -> [String] {
        var keys: [String] = []
        var after: String?
        while true {
            var query = "encoding-type=url&list-type=2&prefix=\(Self.encoded(prefix, keeping: ""))"
            if let after { query += "&start-after=\(Self.encoded(after, keeping: ""))" }
            let answer = try request("GET", key: nil, query: query).expect(200)
            let text = try String(contentsOfFile: answer.bodyPath, encoding: .utf8)
            let page = text.components(separatedBy: "<Key>").dropFirst().compactMap {
                $0.components(separatedBy: "</Key>")[0].removingPercentEncoding
            }
            keys += page
            guard text.contains("<IsTruncated>true</IsTruncated>"), let last = page.last else { return keys }
            after = last
        }
    }

    /// The keys of blocks that begin with a prefix: the mount token is left out.
    func blockKeys(prefix: String = "") throws -> [String] {
        try keys(prefix: prefix).filter { !$0.hasSuffix("s3backer-mounted") }
    }

    /// The head of an object; nil when there is none.
    func head(_ key: String) throws -> [String: String]? {
        let answer = try request("HEAD", key: key)
        if answer.status == 404 { return nil }
        return try answer.expect(200).headers
    }

    /// The bytes of an object.
    func get(_ key: String) throws -> Data {
        let answer = try request("GET", key: key).expect(200)
        return try Data(contentsOf: URL(fileURLWithPath: answer.bodyPath))
    }

    /// Stores an object.
    func put(_ data: Data, to key: String, headers: [String: String] = [:]) throws {
        let file = workspace.file("put-body")
        try data.write(to: URL(fileURLWithPath: file))
        try request("PUT", key: key, headers: headers, bodyFile: file).expect(200)
    }

    /// Removes an object.
    func delete(_ key: String) throws { try request("DELETE", key: key).expect(204) }

    /// Lets everybody read and list it.
    func makePublic() throws {
        let policy = """
            {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],\
            "Resource":["arn:aws:s3:::\(name)","arn:aws:s3:::\(name)/*"]}]}
            """
        try request("PUT", key: nil, query: "policy=", bodyFile: try workspace.write(policy, to: "policy")).expect(204)
    }

    @discardableResult
    private func request(
        _ method: String, key: String?, query: String = "", headers: [String: String] = [:], bodyFile: String? = nil
    ) throws -> BucketAnswer {
        bodyCount += 1
        let body = workspace.file("answer-\(bodyCount % 2)")
        let head = workspace.file("answer-head")
        var url = "\(gateway.endpoint)/\(name)"
        if let key { url += "/" + Self.encoded(key, keeping: "/") }
        if !query.isEmpty { url += "?" + query }
        // curl 7.88 signs for S3 only with the hash of the body given.
        var words = ["-sS", "-m", "20", "-K", "-", "--aws-sigv4", "aws:amz:us-east-1:s3"]
        words += ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-o", body, "-D", head, "-w", "%{http_code}"]
        for (name, value) in headers { words += ["-H", "\(name): \(value)"] }
        if let bodyFile {
            words += ["-T", bodyFile]
        } else {
            words += method == "HEAD" ? ["-I"] : ["-X", method]
        }
        // The secret goes through standard input: everybody may read a command line.
        let user = "user = \"\(gateway.accessID):\(gateway.secret)\"\n"
        let result = try Command.run("curl", words + [url], seconds: 30, input: user)
        guard let status = Int(result.output.suffix(3)) else { throw FixtureError("no status from curl: \(result)") }
        return BucketAnswer(status: status, headers: try Self.headers(inFile: head), bodyPath: body)
    }

    private static func headers(inFile path: String) throws -> [String: String] {
        var headers: [String: String] = [:]
        for line in try String(contentsOfFile: path, encoding: .utf8).split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            headers[line[..<colon].lowercased()] = value
        }
        return headers
    }

    private static func encoded(_ text: String, keeping kept: String) -> String {
        var result = ""
        for byte in text.utf8 {
            let scalar = Character(UnicodeScalar(byte))
            if byte < 128, scalar.isLetter || scalar.isNumber || "-._~".contains(scalar) || kept.contains(scalar) {
                result.append(scalar)
            } else {
                result += String(format: "%%%02X", byte)
            }
        }
        return result
    }
}

extension BucketAnswer {
    /// Passes the answer on if it has this status.
    ///
    /// - Throws: `FixtureError` with the body otherwise.
    @discardableResult
    func expect(_ wanted: Int) throws -> BucketAnswer {
        guard status == wanted else {
            let body = (try? String(contentsOfFile: bodyPath, encoding: .utf8)) ?? ""
            throw FixtureError("the gateway answered \(status) instead of \(wanted): \(body)")
        }
        return self
    }
}
