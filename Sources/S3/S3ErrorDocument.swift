// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The body of S3's error answers.
///
/// ```
///   Error / Code, Message, Region, Endpoint, ServerTime ...
/// ```
/// - Source: Amazon S3 API Reference, "Error responses".
struct S3ErrorDocument: Hashable {
    /// What programs tell errors apart by: `NoSuchKey`.
    var code: String
    /// What people read.
    var message = ""
    /// The region that the request should have been signed for or sent to, where S3 says it.
    var region: String?
    /// The host that the request should have gone to, where S3 says it.
    var endpoint: String?

    /// Reads the body of an answer.
    ///
    /// - Returns: nil when it is not S3's document, or not a whole one.
    init?(parsing bytes: UnsafeRawBufferPointer) {
        var fields: [String: String] = [:]
        do {
            try XMLReader.read(bytes) { path, event in
                guard case .end(let text) = event, path.count == 2, path[0] == "Error" else { return }
                fields[path[1]] = Self.legible(text)
            }
        } catch {
            return nil  // whoever asks treats the answer as not S3's
        }
        guard let code = fields["Code"], !code.isEmpty else { return nil }
        self.code = code
        message = fields["Message"] ?? ""
        region = fields["Region"].flatMap { $0.isEmpty ? nil : $0 }
        endpoint = fields["Endpoint"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// A server's words on one line, without control characters, at most 300 characters.
    static func legible(_ text: String) -> String {
        let words = text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) }
        return String(String(words).split(separator: " ").joined(separator: " ").prefix(300))
    }
}
