// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The number by which a mounted volume is marked in the bucket; new for each mount that may write.
///
/// - Source: Docs/Formats/Direct.md "Mount token".
public struct MountToken: Hashable, Sendable, CustomStringConvertible {
    /// 1 ... 0x7fffffff.
    public let rawValue: UInt32

    /// Names a token found in a bucket.
    init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Draws a new token, 1 ... 0x7ffffffe.
    public init(using generator: inout some RandomNumberGenerator) {
        rawValue = UInt32.random(in: 1..<Self.sharedDisk.rawValue, using: &generator)
    }

    /// Names a token that was recorded; nil for 0, which is none.
    public init?(recorded rawValue: UInt32) {
        guard rawValue != 0 else { return nil }
        self.rawValue = rawValue
    }

    /// How much longer than others its mount waits where only waiting tells two mounts apart; below a second.
    var spread: Duration { .milliseconds(Int(rawValue % 1000)) }

    /// What an object without a readable number stands for: an old version made it, and the volume is mounted.
    static let unnumbered = MountToken(rawValue: 1)
    /// Left by mounts that share the disk on purpose.
    static let sharedDisk = MountToken(rawValue: 0x7fff_ffff)

    /// The value of the header: eight hexadecimal digits.
    var headerValue: String { eightDigits(rawValue) }

    /// Reads the value of the header.
    ///
    /// - Returns: ``unnumbered`` for nil, zero and anything that is no hexadecimal number of 32 bits.
    static func parsing(_ headerValue: String?) -> MountToken {
        guard let headerValue, let number = UInt32(headerValue, radix: 16), number != 0 else { return unnumbered }
        return MountToken(rawValue: number)
    }

    /// As in messages: `0x4f2a8f9c`.
    public var description: String { "0x" + headerValue }
}
