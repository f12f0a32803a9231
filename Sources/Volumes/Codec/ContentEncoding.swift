// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// What was done to a block's bytes, in the order in which it was done: the list in the header Content-Encoding.
///
/// - Source: RFC 9110 section 8.4; Docs/Formats/Direct.md "Content-Encoding".
public struct ContentEncoding: Hashable, Sendable {
    /// What stands before the name of a cipher.
    static let encryptionPrefix = "encrypt-"
    /// What some stores keep of the way in which an object was uploaded, though its bytes were stored without it.
    ///
    /// - Source: Amazon S3, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks".
    static let transfer = "aws-chunked"
    /// The element that says that nothing was done.
    static let identity = "identity"

    /// The elements, as in the header, without blanks.
    public let elements: [String]

    /// Makes a list.
    public init(elements: [String]) { self.elements = elements }

    /// Takes the text of a header apart, of any length: elements stand between commas, blanks and tabs. A first element
    /// `aws-chunked`, spelt like this, is left out: other programs that copy objects leave it, and it says nothing of the bytes.
    ///
    /// Says nothing about whether the elements are known; see ``firstUnreadable``.
    public init(parsing text: String) {
        let isSeparator: (UInt8) -> Bool = { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        let words = text.utf8.split(whereSeparator: isSeparator)
        let isCopied = words.first?.elementsEqual(Self.transfer.utf8) ?? false
        elements = words.dropFirst(isCopied ? 1 : 0).map { String(Substring($0)) }
    }

    /// The header's text, spelt as the C program spells it: `deflate, encrypt-AES-128-CBC`.
    public var text: String { elements.joined(separator: ", ") }

    /// The text without blanks, which the additional data of AES-256-GCM holds: `zstd,encrypt-AES-256-GCM`.
    public var canonicalText: String { elements.joined(separator: ",") }

    /// The first element that no block can be read with, whatever is configured; nil when there is none.
    ///
    /// Readable are lists of at most one compression and, after it, at most one encryption, in any case of letters. The element
    /// `identity` may stand anywhere.
    public var firstUnreadable: String? {
        var isCompressed = false
        var isEncrypted = false
        for element in elements where !element.isSpelt(Self.identity) {
            if isEncrypted { return element }
            if let cipher = element.dropping(Self.encryptionPrefix) {
                isEncrypted = true
                guard BlockCipher(named: cipher) != nil || cipher.isSpelt(GCMEncryption.cipherName) else { return element }
            } else {
                guard !isCompressed, Compression.kind(of: element) != nil else { return element }
                isCompressed = true
            }
        }
        return nil
    }

    /// The same list as our writer would spell it.
    var canonical: ContentEncoding {
        let known = elements.filter { !$0.isSpelt(Self.identity) }
        return ContentEncoding(
            elements: known.map { element in
                if let kind = Compression.kind(of: element) { return kind.name }
                guard let cipher = element.dropping(Self.encryptionPrefix) else { return element }
                if cipher.isSpelt(GCMEncryption.cipherName) { return Self.encryptionPrefix + GCMEncryption.cipherName }
                return BlockCipher(named: cipher).map { Self.encryptionPrefix + $0.canonicalName } ?? element
            })
    }
}

extension String {
    /// Whether the text is `name`, in any case of ASCII letters.
    func isSpelt(_ name: String) -> Bool { utf8.elementsEqual(name.utf8) { $0.lowercaseASCII == $1.lowercaseASCII } }

    /// The text after `prefix`, which may stand there in any case of ASCII letters; nil when it does not.
    func dropping(_ prefix: String) -> String? {
        guard utf8.starts(with: prefix.utf8, by: { $0.lowercaseASCII == $1.lowercaseASCII }) else { return nil }
        return String(Substring(utf8.dropFirst(prefix.utf8.count)))
    }

    /// The text for a message: printable ASCII only, and cut off where it gets long.
    var quotable: String {
        let shown = utf8.prefix(80).map { (0x20...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }
        return String(decoding: shown, as: UTF8.self) + (utf8.count > 80 ? "..." : "")
    }
}

extension UInt8 {
    /// The lower-case letter for an upper-case one; every other byte stays.
    fileprivate var lowercaseASCII: UInt8 { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) ? self | 0x20 : self }
}
