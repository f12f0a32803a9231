// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ObjectStores

/// The two documents of a batch delete: the request that names keys, and the answer that names failures.
///
/// ```
///   Delete / Quiet, Object... / Key             DeleteResult / Error... / Key, Code, Message
/// ```
/// - Source: Amazon S3 API Reference, DeleteObjects.
enum S3DeleteDocument {
    /// The most keys that one request may name.
    static let keysMax = 1000

    /// A key that was not deleted.
    struct Failure: Hashable {
        /// Its name, as the server wrote it.
        var key = ""
        /// S3's own word for the cause, such as `AccessDenied`.
        var code = ""
        /// The server's sentence about it.
        var message = ""
    }

    /// Writes the request; Quiet asks for failures only.
    static func request(deleting keys: some Collection<ObjectKey>) -> [UInt8] {
        var text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        text += "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>"
        for key in keys { text += "<Object><Key>\(escaped(key.name))</Key></Object>" }
        return Array((text + "</Delete>").utf8)
    }

    /// Whether XML 1.0 can spell the key: it has no form at all for most control characters.
    ///
    /// - Source: XML 1.0 section 2.2, `Char`.
    static func canSpell(_ key: ObjectKey) -> Bool {
        key.name.unicodeScalars.allSatisfy { scalar in
            (scalar.value >= 0x20 || scalar == "\t" || scalar == "\n" || scalar == "\r") && (scalar.value & 0xfffe) != 0xfffe
        }
    }

    /// Reads the answer.
    ///
    /// - Returns: The failures; empty when all keys are gone.
    /// - Throws: When it is no such document; then nothing is known.
    static func failures(parsing bytes: UnsafeRawBufferPointer) throws(XMLReader.Malformed) -> [Failure] {
        var isResult = false
        var failures: [Failure] = []
        try XMLReader.read(bytes) { path, event in
            switch event {
            case .begin:
                if path.count == 1 { isResult = path[0] == "DeleteResult" }
                if path.count == 2, path[1] == "Error" { failures.append(Failure()) }
            case .end(let text):
                guard path.count == 3, path[1] == "Error" else { return }
                let last = failures.count - 1
                switch path[2] {
                case "Key": failures[last].key = text
                case "Code": failures[last].code = text
                case "Message": failures[last].message = text
                default: break
                }
            }
        }
        guard isResult else { throw XMLReader.Malformed() }
        return failures
    }

    /// Replaces what XML would read as markup, or would normalise (carriage return, tab and line feed).
    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&apos;"
            case "\r", "\n", "\t": escaped += "&#\(scalar.value);"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
