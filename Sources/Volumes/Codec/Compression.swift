// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How blocks are compressed when they are written. Reading knows every kind, whatever is set here.
///
/// - Source: Docs/Formats/Direct.md "Compression".
public enum Compression: Hashable, Sendable {
    /// A zlib stream (RFC 1950) of `level` -1 ... 9; -1 is zlib's default.
    case deflate(level: Int)
    /// A Zstandard frame (RFC 8878) of `level`; see `levels(of:)`.
    case zstd(level: Int)

    /// The name in Content-Encoding.
    public var name: String {
        switch self {
        case .deflate: "deflate"
        case .zstd: "zstd"
        }
    }
}
