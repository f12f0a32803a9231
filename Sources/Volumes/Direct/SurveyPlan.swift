// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import ObjectStores

/// Which names a survey asks for next, so that each is listed once; pure.
///
/// The names of blocks begin with eight digits: the number of the block, or its hash. As a number these are the *code* of a
/// name. A *span* is the part of the name space whose names begin with some digits: the store filters by them, so spans with
/// different digits never show the same object. One request after the other goes through a span.
///
///     one span: the digits that all names have in common
///     a page of it is not the last, more requests may be in flight, and the rest looks like a page for each part or more:
///         its rest becomes up to 16 spans of one digit more, which are listed side by side
///
/// So an empty volume costs one request, and a full one little more than its objects fill pages. A division into equal spans
/// at the start would cost a request for each, and the ends of spans that are no round numbers could only be found by listing
/// beyond them.
struct SurveyPlan {
    /// A part of the name space, and how far it has been listed.
    struct Span: Hashable, Sendable {
        /// What stands behind the volume's prefix; up to eight digits.
        let digits: String
        /// The codes that begin with these digits, as far as blocks can have them.
        let codes: Range<UInt64>
        /// The key that the next page begins after; nil where that is the span's beginning.
        var after: ObjectKey?
        /// The codes below are listed.
        var listed: UInt64
    }

    /// The most names on a page.
    static let pageMax = 1000

    private let keys: BlockKeyScheme
    private let spansMax: Int
    /// The codes that blocks can have.
    private let limit: UInt64
    /// The spans that nobody lists at present, the next one last.
    private var waiting: [Span] = []
    private(set) var inFlightCount = 0

    /// Begins with one span.
    ///
    /// - Parameters:
    ///   - blockCount: Of the volume. Hashes may be any number.
    ///   - spansMax: How many spans are listed side by side.
    init(keys: BlockKeyScheme, blockCount: Int, spansMax: Int) {
        self.keys = keys
        self.spansMax = spansMax
        limit = keys.isHashed ? Self.codeCount : UInt64(blockCount)
        let last = eightDigits(UInt32(limit - 1))
        let digits = String(zip(last, eightDigits(0)).prefix { $0 == $1 }.map(\.0))
        // Names of other objects may stand before the first digit; with digits in the prefix the store leaves them out.
        let after = digits.isEmpty ? keys.keyBeforeAllBlocks : nil
        waiting = [Span(digits: digits, codes: 0..<limit, after: after, listed: 0)]
    }

    /// The span to ask for next; nil when enough are being asked for, or nothing waits.
    mutating func next() -> Span? {
        guard inFlightCount < spansMax, let span = waiting.popLast() else { return nil }
        inFlightCount += 1
        return span
    }

    /// Takes note of the answer to a request for `span`.
    ///
    /// - Returns: The codes that are listed now and were not before.
    mutating func answered(_ span: Span, by page: ObjectListPage) -> Range<UInt64> {
        inFlightCount -= 1
        guard let next = page.next else { return span.listed..<span.codes.upperBound }
        let listed = min(span.codes.upperBound, max(span.listed, codeCount(through: next)))
        guard listed < span.codes.upperBound else { return span.listed..<listed }
        var rest = span
        rest.after = next
        rest.listed = listed
        // The last is taken first; so the codes come in order, by and large.
        waiting += divided(rest, next, pageCodes: listed - span.listed).reversed()
        return span.listed..<listed
    }

    // MARK: Division

    /// How many numbers eight digits can be.
    private static let codeCount: UInt64 = 1 << 32

    /// How many codes begin with so many digits.
    private static func codes(behind digitCount: Int) -> UInt64 { codeCount >> UInt64(4 * digitCount) }

    /// The rest of a span: in parts if others can help, and if it looks like at least a page for each of the parts.
    ///
    /// - Parameters:
    ///   - next: The last key that was listed.
    ///   - pageCodes: How many codes the last page went on.
    private func divided(_ rest: Span, _ next: ObjectKey, pageCodes: UInt64) -> [Span] {
        guard waiting.isEmpty, inFlightCount + 1 < spansMax, rest.digits.utf8.count < 8 else { return [rest] }
        guard Self.codes(behind: rest.digits.utf8.count + 1) > UInt64(Self.pageMax) else { return [rest] }
        let parts = parts(of: rest, next)
        let pageCount = (rest.codes.upperBound - rest.listed) / max(1, pageCodes)
        return pageCount >= UInt64(parts.count) ? parts : [rest]
    }

    /// The rest of a span, as spans of one digit more.
    private func parts(of rest: Span, _ next: ObjectKey) -> [Span] {
        let size = Self.codes(behind: rest.digits.utf8.count + 1)
        // The span itself may be cut at the end of the volume, never at its beginning.
        let start = rest.codes.lowerBound
        return (UInt64(0)..<16).compactMap { digit in
            let lower = start + digit * size
            guard lower < rest.codes.upperBound else { return nil }
            let digits = rest.digits + String(digit, radix: 16)
            let codes = lower..<min(lower + size, rest.codes.upperBound)
            let first = ObjectKey(keys.prefix + digits)
            if next.name.utf8.starts(with: first.name.utf8) {
                return Span(digits: digits, codes: codes, after: next, listed: max(lower, rest.listed))
            }
            return first < next ? nil : Span(digits: digits, codes: codes, after: nil, listed: lower)
        }
    }

    /// How many codes are such that the names of their blocks do not come after `key`. The key's own code counts only where
    /// names have nothing behind the code.
    private func codeCount(through key: ObjectKey) -> UInt64 {
        guard key.name.utf8.starts(with: keys.prefix.utf8) else { return 0 }
        var digits = key.name.utf8.dropFirst(keys.prefix.utf8.count)
        var count: UInt64 = 0
        for position in 0..<8 {
            // A name that is longer than the key and begins like it comes after it.
            guard let byte = digits.popFirst() else { return count }
            let (value, isDigit) = Self.digit(byte)
            count += value * Self.codes(behind: position + 1)
            guard isDigit else { return count }
        }
        return keys.isHashed ? count : count + 1
    }

    /// How many digits come before `byte`, and whether it is one itself.
    private static func digit(_ byte: UInt8) -> (value: UInt64, isDigit: Bool) {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): (UInt64(byte - UInt8(ascii: "0")), true)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): (UInt64(byte - UInt8(ascii: "a")) + 10, true)
        case ..<UInt8(ascii: "0"): (0, false)
        case ..<UInt8(ascii: "a"): (10, false)
        default: (16, false)
        }
    }
}
