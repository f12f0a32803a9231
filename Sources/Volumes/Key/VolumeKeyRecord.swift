// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

package import Cryptography

/// What the key object of a volume says: which volume it is, and its key, wrapped by a password.
///
///     s3backer volume key 1
///     volume <32 digits>
///     kdf scrypt N=131072 r=8 p=1
///     salt <64 digits>
///     nonce <48 digits>
///     key <96 digits>
///
/// Digits are lower-case hexadecimal, numbers decimal; each line ends with one line feed, and nothing follows the last. There is
/// exactly one text for each record, so a text is read strictly: what would not be printed in the same way is refused.
///
/// - Source: Docs/Formats/Encryption.md "The key object".
struct VolumeKeyRecord: Hashable, Sendable {
    /// The bytes of a salt.
    static let saltCount = 32
    /// The bytes of a wrapped key: the key and its tag.
    static let wrappedCount = VolumeKey.keyCount + XAES256GCM.tagCount
    /// The bytes of a text, at most; a longer one is not looked at.
    static let bytesMax = 4096
    /// What every version starts with.
    static let magic = "s3backer volume key "
    /// The version that is written, and the only one that is read.
    static let version = "1"

    /// Names the volume: ``VolumeKey/idCount`` bytes.
    var volume: [UInt8]
    /// How the password becomes a key.
    var parameters: ScryptParameters
    /// ``saltCount`` bytes.
    var salt: [UInt8]
    /// ``XAES256GCM/nonceCount`` bytes.
    var nonce: [UInt8]
    /// ``wrappedCount`` bytes: the volume's key under the password's, then the tag.
    var wrapped: [UInt8]

    /// Every byte before the last line: what the wrapped key is bound to.
    var head: [UInt8] {
        let kdf = "N=\(1 << parameters.costLog2) r=\(parameters.blockSize) p=\(parameters.parallelism)"
        return Array(
            """
            \(Self.magic)\(Self.version)
            volume \(hexadecimal(volume))
            kdf scrypt \(kdf)
            salt \(hexadecimal(salt))
            nonce \(hexadecimal(nonce))

            """.utf8)
    }

    /// The whole text.
    var bytes: [UInt8] { head + Array("key \(hexadecimal(wrapped))\n".utf8) }
}

extension VolumeKeyRecord {
    /// Why a text is no record, in words that complete "its key object ... cannot be used: ".
    struct ParsingError: Error {
        /// The cause.
        let message: String
        /// What to do about it.
        var cure = "restore the object from a copy"
        /// It is longer than any record.
        static let tooLarge = ParsingError(message: "it has more than \(bytesMax) bytes")
    }

    /// Reads a text.
    ///
    /// - Throws: When it is not exactly what ``bytes`` of some record is, or asks for more memory than
    ///   ``ScryptParameters/memoryBytesMax``.
    init(parsing bytes: [UInt8]) throws(ParsingError) {
        guard bytes.count <= Self.bytesMax else { throw .tooLarge }
        guard bytes.starts(with: Self.magic.utf8) else { throw ParsingError(message: "it is no key object of a volume") }
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard lines[0].elementsEqual((Self.magic + Self.version).utf8) else { throw Self.otherVersion(lines[0]) }
        guard lines.count == 7, lines[6].isEmpty else {
            throw ParsingError(message: "it has not six lines, each with a line feed")
        }
        volume = try Self.digits(lines[1], "volume", count: VolumeKey.idCount)
        parameters = try Self.parameters(lines[2])
        salt = try Self.digits(lines[3], "salt", count: Self.saltCount)
        nonce = try Self.digits(lines[4], "nonce", count: XAES256GCM.nonceCount)
        wrapped = try Self.digits(lines[5], "key", count: Self.wrappedCount)
        // What a reader accepts and a writer does not write would be a second spelling, with another head.
        guard self.bytes == bytes else { throw ParsingError(message: "it is not spelt as a key object is") }
    }

    private static func otherVersion(_ line: ArraySlice<UInt8>) -> ParsingError {
        let digits = line.dropFirst(magic.utf8.count)
        guard !digits.isEmpty, digits.count <= 9, digits.first != UInt8(ascii: "0"),
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return ParsingError(message: "its first line names no version") }
        let number = String(decoding: digits, as: UTF8.self)
        return ParsingError(
            message: "it was written by a newer version of this program (format \(number), known is \(version))",
            cure: "use that version")
    }

    private static func digits(
        _ line: ArraySlice<UInt8>, _ name: String, count: Int
    ) throws(ParsingError) -> [UInt8] {
        let digits = Array(line.dropFirst(name.utf8.count + 1))
        guard line.starts(with: "\(name) ".utf8), digits.count == 2 * count else {
            throw ParsingError(message: "its line \"\(name)\" is not \(2 * count) hexadecimal digits")
        }
        return try stride(from: 0, to: digits.count, by: 2).map { (index) throws(ParsingError) in
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else {
                throw ParsingError(message: "its line \"\(name)\" is not \(2 * count) lower-case hexadecimal digits")
            }
            return high << 4 | low
        }
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    private static func parameters(_ line: ArraySlice<UInt8>) throws(ParsingError) -> ScryptParameters {
        guard line.starts(with: "kdf scrypt ".utf8) else {
            throw ParsingError(message: "its line \"kdf\" does not say scrypt")
        }
        let words = line.dropFirst("kdf scrypt ".utf8.count).split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 3, let cost = number(words[0], "N="), let blockSize = number(words[1], "r="),
            let parallelism = number(words[2], "p="), cost >= 2, cost & (cost - 1) == 0
        else { throw ParsingError(message: "its line \"kdf\" is not N=, a power of two, r= and p=") }
        let parameters = ScryptParameters(
            costLog2: cost.trailingZeroBitCount, blockSize: blockSize, parallelism: parallelism)
        guard parameters.isAffordable else {
            throw ParsingError(message: "its line \"kdf\" asks for more memory or time than is spent on a password")
        }
        return parameters
    }

    private static func number(_ word: ArraySlice<UInt8>, _ name: String) -> Int? {
        guard word.starts(with: name.utf8) else { return nil }
        let digits = word.dropFirst(name.utf8.count)
        guard !digits.isEmpty, digits.count <= 12, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return Int(String(decoding: digits, as: UTF8.self))
    }
}

extension ScryptParameters {
    /// What new key objects ask for: 128 MiB, and about half a second of one core.
    package static let forVolumes = ScryptParameters(costLog2: 17, blockSize: 8, parallelism: 1)
    /// The memory that a key object may ask for.
    static let memoryBytesMax = 1 << 30
    /// The passes over that memory that it may ask for, so that a forged object cannot hold a mount up for hours.
    static let parallelismMax = 16

    /// Whether a key object may ask for these: what scrypt takes, within ``memoryBytesMax`` and ``parallelismMax``.
    ///
    /// - Source: RFC 7914 section 6: N is less than 2^(16 * r).
    var isAffordable: Bool {
        guard let memoryCount, memoryCount <= Self.memoryBytesMax, parallelism <= Self.parallelismMax else { return false }
        return costLog2 < 16 * blockSize
    }
}
