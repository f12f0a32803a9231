// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Cryptography
internal import DataPath
internal import ObjectStores

/// The encryption of the C program: CBC under a key from the password, a fixed vector for each block, HMAC-SHA1 over the result.
///
///     key        = PBKDF2-HMAC-SHA1(password, salt, 5000 rounds)            keyCount bytes
///     vector key = PBKDF2-HMAC-SHA1(key, key, 5000 rounds)                  keyCount bytes
///     vector     = CBC(vector key, its own leading bytes, "%08x" of the block and NULs)    one cipher block
///     body       = CBC(key, vector, compressed bytes with PKCS #7 padding)
///     HMAC       = HMAC-SHA1(key, "%08x" of the block, canonical name of the cipher, body)
///
/// Where `keyCount` is more than the cipher takes, the cipher gets the leading bytes, and everything else all of them.
///
/// - Source: Docs/Formats/Direct.md "Encryption".
final class CompatibleEncryption: BlockEncryption {
    /// The user metadata that holds the HMAC.
    static let authenticationName = "s3backer-hmac"
    /// The largest key, in bytes, that the C program derives.
    static let keyCountMax = 64
    private static let iterations = 5000
    /// The bytes of a block's number in hexadecimal digits.
    private static let numberCount = 8

    /// The cipher.
    let cipher: BlockCipher
    /// The key of cipher and HMAC.
    let key: SecretBytes
    /// The key of the vectors.
    let vectorKey: SecretBytes

    /// See ``BlockEncryption/encodingName``.
    let encodingName: String
    /// Both programs always compress, and the HMAC does not cover the element that says so.
    var requiresCompression: Bool { true }
    /// Nothing stands in front.
    var headCount: Int { 0 }
    /// The padding.
    var tailCountMax: Int { cipher.blockCount }

    private let bodies: CBCCipher
    private let vectors: CBCCipher
    private let authentication: MAC
    private let cipherName: [UInt8]

    /// Derives the keys, which takes a few milliseconds.
    ///
    /// - Parameters:
    ///   - keyCount: The bytes of the key, from what the cipher takes to ``keyCountMax``; nil means what the cipher takes.
    ///   - salt: `BUCKET/PREFIX`.
    init(cipher: BlockCipher, keyCount: Int?, password: SecretBytes, salt: String) {
        let keyCount = keyCount ?? cipher.keyCount
        precondition((cipher.keyCount...Self.keyCountMax).contains(keyCount), "a key is as long as the cipher's, up to 64 bytes")
        let key = password.withBytes { password in
            Array(salt.utf8).withUnsafeBytes { salt in
                KeyDerivation.pbkdf2SHA1(password: password, salt: salt, iterations: Self.iterations, count: keyCount)
            }
        }
        let vectorKey = key.withBytes {
            KeyDerivation.pbkdf2SHA1(password: $0, salt: $0, iterations: Self.iterations, count: keyCount)
        }
        self.cipher = cipher
        self.key = key
        self.vectorKey = vectorKey
        encodingName = ContentEncoding.encryptionPrefix + cipher.canonicalName
        cipherName = Array(cipher.canonicalName.utf8)
        bodies = CBCCipher(cipher, key: key)
        vectors = CBCCipher(cipher, key: vectorKey)
        authentication = MAC(.sha1, key: key)
    }

    /// Whether the element is `encrypt-` and a name of the cipher in upper case: the C program writes the name that its user
    /// gave, in upper case, which may be an alias.
    func isNamed(_ element: String) -> Bool {
        guard element.utf8.starts(with: ContentEncoding.encryptionPrefix.utf8) else { return false }
        let name = element.utf8.dropFirst(ContentEncoding.encryptionPrefix.utf8.count)
        let isUpperCase = name.allSatisfy { $0 < 0x80 && !(UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
        return isUpperCase && BlockCipher(named: String(decoding: name, as: UTF8.self)) == cipher
    }

    /// The key material is what PBKDF2 made of the password; there is no salt beside the one in there.
    func derivedKey(for label: String) -> SecretBytes {
        KeyDerivation.hkdfSHA256(key: key, salt: [], label: Array(label.utf8), count: VolumeKey.keyCount)
    }

    /// See ``BlockEncryption/encrypt(_:into:of:_:)``.
    func encrypt(
        _ plain: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, of block: BlockNumber,
        _ encoding: ContentEncoding
    ) -> (count: Int, user: [String: String]) {
        let count = withVector(of: block) { bodies.encrypt(plain, vector: $0, into: target) }
        let value = authenticate(UnsafeRawBufferPointer(rebasing: target[..<count]), of: block)
        return (count, [Self.authenticationName: "\"\(hexadecimal(value))\""])
    }

    /// See ``BlockEncryption/decrypt(_:_:of:_:into:)``.
    func decrypt(
        _ body: UnsafeRawBufferPointer, _ metadata: ObjectMetadata, of block: BlockNumber, _ encoding: ContentEncoding,
        into target: UnsafeMutableRawBufferPointer
    ) throws(CodecError) -> Int {
        guard let text = metadata.user[Self.authenticationName] else {
            throw CodecError(
                .notEncrypted, "it has no x-amz-meta-\(Self.authenticationName), although it is encrypted: the object was changed"
            )
        }
        // The text as it must be is compared, not the number that it stands for: there is one spelling.
        let expected = Array("\"\(hexadecimal(authenticate(body, of: block)))\"".utf8)
        let isAuthentic = expected.withUnsafeBytes { expected in
            Array(text.utf8).withUnsafeBytes { isEqualInConstantTime($0, expected) }
        }
        guard isAuthentic else {
            throw CodecError(.notAuthentic, "its HMAC does not match: another password, or the object was changed")
        }
        guard let count = withVector(of: block, { bodies.decrypt(body, vector: $0, into: target) }) else {
            throw CodecError(
                .damaged, "its HMAC matches, but it is no \(cipher.canonicalName) text: whoever wrote it made an error")
        }
        return count
    }

    private func authenticate(_ body: UnsafeRawBufferPointer, of block: BlockNumber) -> [UInt8] {
        withNumber(block, count: Self.numberCount) { number in
            cipherName.withUnsafeBytes { name in authentication.authenticate(UnsafeRawBufferPointer(number), name, body) }
        }
    }

    /// Calls `body` with the vector of a block, one cipher block.
    func withVector<Result>(of block: BlockNumber, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withNumber(block, count: cipher.blockCount) { vector in
            vectorKey.withBytes {
                vectors.encryptUnpadded(UnsafeRawBufferPointer(vector), vector: $0, into: vector)
            }
            return body(UnsafeRawBufferPointer(vector))
        }
    }

    /// Calls `body` with `count` bytes: the block's number as eight hexadecimal digits, and NULs.
    private func withNumber<Result>(
        _ block: BlockNumber, count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Result
    ) -> Result {
        // Of a constant size, the largest cipher block, so that it lies on the stack.
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 16) { bytes in
            for index in 0..<count {
                guard index < Self.numberCount else {
                    bytes[index] = 0
                    continue
                }
                let value = UInt8(block.rawValue >> UInt32(4 * (Self.numberCount - 1 - index)) & 15)
                bytes[index] = value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
            }
            return body(UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]))
        }
    }
}
