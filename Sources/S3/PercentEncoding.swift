// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a percent-encoding leaves as it is beside letters, digits and `-._~`.
enum PercentEncoding {
    /// Nothing more: a query's name or value, a bucket's name.
    case component
    /// The slash too: a key within a path.
    case path

    /// Encodes the UTF-8 bytes of `text`, with upper-case hexadecimal digits.
    ///
    /// S3 encodes once, and the same text stands in the URL and in the signature.
    ///
    /// - Source: Amazon S3, "Signature Calculations for the Authorization Header", `UriEncode()`; RFC 3986 section 2.
    func encode(_ text: String) -> String {
        // Nearly every key, and every part of a query but a continuation token, is kept whole.
        if isKept(text.utf8.span) { return text }
        let digits = StaticString("0123456789ABCDEF").utf8Start
        var encoded: [UInt8] = []
        encoded.reserveCapacity(text.utf8.count + 16)
        for byte in text.utf8 {
            if isKept(byte) {
                encoded.append(byte)
            } else {
                encoded.append(UInt8(ascii: "%"))
                encoded.append(digits[Int(byte >> 4)])
                encoded.append(digits[Int(byte & 15)])
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    private func isKept(_ bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices where !isKept(bytes[index]) { return false }
        return true
    }

    private func isKept(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
        case UInt8(ascii: "/"): self == .path
        default: false
        }
    }

    /// Decodes text of a list with `encoding-type=url`, where `+` is a blank.
    ///
    /// - Returns: nil when a `%` is not followed by two hexadecimal digits, or the bytes are no UTF-8.
    /// - Source: Amazon S3 API Reference, ListObjectsV2, EncodingType.
    static func decode(_ text: String) -> String? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.utf8.count)
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): decoded.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
                decoded.append(high << 4 | low)
            default: decoded.append(byte)
            }
        }
        return String(validating: decoded, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
