// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Bytes as lower-case hexadecimal digits, two each.
///
/// - Source: RFC 4648 section 8, in lower case.
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
