// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ArgumentParser

/// A number with an optional binary suffix: `4k` is 4096.
///
/// The suffix is one letter in either case: k, m, g, t, p, e (2^10 ... 2^60), z, y (always too large for 64 bits). The C
/// program insists on a suffix; here a plain number is taken as well.
struct ByteSize: Equatable, Sendable, CustomStringConvertible {
    /// Why a text is no size.
    enum Fault: Error, Equatable {
        /// Not a positive decimal number with at most one suffix letter.
        case malformed
        /// More than 64 bits can hold.
        case tooLarge
    }

    /// The number, in its unit (bytes; bits per second for a speed); never 0.
    let count: UInt64

    init(count: UInt64) { self.count = count }

    private static let suffixes = Array("kmgtpezy".utf8)

    /// Reads a size.
    ///
    /// - Throws: ``Fault``.
    init(parsing text: String) throws(Fault) {
        var digits = text.utf8[...]
        var shift = 0
        if let last = digits.last, let index = Self.suffixes.firstIndex(of: last | 0x20) {
            shift = 10 * (index + 1)
            digits = digits.dropLast()
        }
        guard !digits.isEmpty, digits.allSatisfy({ (48...57).contains($0) }) else { throw .malformed }
        guard digits.contains(where: { $0 != 48 }) else { throw .malformed }
        guard let number = UInt64(String(digits) ?? "") else { throw .tooLarge }
        guard shift < 64, number.leadingZeroBitCount >= shift else { throw .tooLarge }
        count = number << UInt64(shift)
    }

    /// The largest suffix that divides exactly, in lower case, else the plain number: `4k`, `1m`, `1000`.
    var description: String {
        for (index, suffix) in Self.suffixes.enumerated().reversed() where index < 6 {
            let unit = UInt64(1) << UInt64(10 * (index + 1))
            if count >= unit, count.isMultiple(of: unit) { return "\(count / unit)\(UnicodeScalar(suffix))" }
        }
        return "\(count)"
    }
}

extension ByteSize: ExpressibleByArgument {
    init?(argument: String) {
        // ArgumentParser takes nil and no reason; the reason is told by `OptionValues`, which parses every size before this.
        guard let size = try? ByteSize(parsing: argument) else { return nil }
        self = size
    }
}
