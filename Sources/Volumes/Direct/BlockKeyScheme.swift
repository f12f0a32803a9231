// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
public import ObjectStores

/// How the blocks of a volume are named in the bucket.
///
///     <prefix>NNNNNNNN            block N
///     <prefix>HHHHHHHH-NNNNNNNN   block N, hashed names: H spreads neighbouring blocks over the key space
///     <prefix>s3backer-mounted    the mount token, never hashed
///     <prefix>s3backer-key        the key object of a volume encrypted with AES-256-GCM, never hashed
///
/// All numbers are eight lower-case hexadecimal digits. The prefix is taken as it is; nobody adds a slash.
///
/// - Source: Docs/Formats/Direct.md "Names".
public struct BlockKeyScheme: Hashable, Sendable {
    /// What every name of the volume starts with; may be empty.
    public let prefix: String
    /// Whether a hash of the block's number stands in front of it.
    public let isHashed: Bool

    /// Makes a scheme.
    public init(prefix: String, isHashed: Bool) {
        self.prefix = prefix
        self.isHashed = isHashed
    }

    /// The scheme of a volume under the same prefix with the other kind of names.
    var other: BlockKeyScheme { BlockKeyScheme(prefix: prefix, isHashed: !isHashed) }

    /// The name of the object that holds `block`.
    public func key(of block: BlockNumber) -> ObjectKey {
        guard isHashed else { return ObjectKey(prefix + block.description) }
        return ObjectKey(prefix + eightDigits(Self.hash(of: block)) + "-" + block.description)
    }

    /// The name of the object that holds the mount token.
    public var mountTokenKey: ObjectKey { ObjectKey(prefix + "s3backer-mounted") }

    /// The name of the object that holds the wrapped key of a volume encrypted with AES-256-GCM.
    public var volumeKeyKey: ObjectKey { ObjectKey(prefix + "s3backer-key") }

    /// Which block a listed object holds.
    ///
    /// - Returns: Nil for any name that ``key(of:)`` does not make: other objects share buckets, also under the same prefix.
    ///   The number may lie beyond the end of the disk; that is for the caller to compare.
    public func block(named key: ObjectKey) -> BlockNumber? {
        let name = Array(key.name.utf8)
        guard name.starts(with: prefix.utf8) else { return nil }
        var rest = name[prefix.utf8.count...]
        guard isHashed else { return Self.number(rest).map { BlockNumber(rawValue: $0) } }
        guard rest.count == 17, rest[rest.startIndex + 8] == UInt8(ascii: "-") else { return nil }
        let hash = Self.number(rest.prefix(8))
        rest = rest.suffix(8)
        guard let number = Self.number(rest) else { return nil }
        let block = BlockNumber(rawValue: number)
        return hash == Self.hash(of: block) ? block : nil
    }

    /// A key that sorts before every block's key and after as much of everything else as can be said in one name.
    ///
    /// A slash is the character before the digit 0, so a listing after this key starts at the first possible block.
    var keyBeforeAllBlocks: ObjectKey { ObjectKey(prefix + "0000000/") }

    /// The hash in front of hashed names: twelve rounds of shift, multiply and add, modulo 2^32.
    ///
    /// - Source: Docs/Formats/Direct.md "Names", with test vectors.
    public static func hash(of block: BlockNumber) -> UInt32 {
        var value = block.rawValue
        for round in stride(from: UInt32(hashRounds), through: 1, by: -1) {
            value = ((value >> 8) ^ value) &* hashFactor &+ round
        }
        return value
    }
    private static let hashRounds = 12
    private static let hashFactor: UInt32 = 0x6b

    /// Reads exactly eight lower-case hexadecimal digits.
    private static func number(_ digits: some Collection<UInt8>) -> UInt32? {
        guard digits.count == 8 else { return nil }
        var value: UInt32 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt32(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt32(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }
}

/// `number` as eight lower-case hexadecimal digits.
func eightDigits(_ number: UInt32) -> String { BlockNumber(rawValue: number).description }
