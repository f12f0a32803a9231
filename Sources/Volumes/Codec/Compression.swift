// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How blocks are compressed when they are written. Reading knows every kind, whatever is set here.
///
/// - Source: Docs/Formats/Direct.md "Compression".
public enum Compression: Hashable, Sendable {
    /// A zlib stream (RFC 1950) of `level` -1 ... 9; -1 is zlib's default.
    case deflate(level: Int)
    /// A Zstandard frame (RFC 8878) of `level`; see ``Kind/levels``.
    case zstd(level: Int)

    /// A format of compressed bytes.
    public enum Kind: String, Sendable, CaseIterable {
        /// A zlib stream.
        case deflate
        /// A Zstandard frame.
        case zstd

        /// The name in Content-Encoding.
        public var name: String { rawValue }

        /// The levels that the library takes.
        public var levels: ClosedRange<Int> {
            switch self {
            case .deflate: Deflate.levels
            case .zstd: Zstd.levels
            }
        }

        /// The level that is used when none is given, as the C program uses it.
        public var defaultLevel: Int {
            switch self {
            case .deflate: -1
            case .zstd: 3
            }
        }
    }

    /// Makes a way of compressing; `level` must be one of `kind.levels`.
    public init(_ kind: Kind, level: Int) {
        switch kind {
        case .deflate: self = .deflate(level: level)
        case .zstd: self = .zstd(level: level)
        }
    }

    /// The format.
    public var kind: Kind {
        switch self {
        case .deflate: .deflate
        case .zstd: .zstd
        }
    }

    /// The level.
    public var level: Int {
        switch self {
        case .deflate(let level), .zstd(let level): level
        }
    }

    /// The name in Content-Encoding.
    public var name: String { kind.name }

    /// The format that an element of Content-Encoding names, in any case of letters; nil when it names none.
    static func kind(of element: String) -> Kind? { Kind.allCases.first { element.isSpelt($0.name) } }
}
