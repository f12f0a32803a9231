// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Cryptography
internal import DataPath
internal import ObjectStores

/// Authenticated encryption under the volume's key: XAES-256-GCM, a random nonce for each object.
///
///     body  = nonce, 24 random bytes | encrypted bytes, as many as plain ones | tag, 16 bytes
///     key   = the volume's key, 32 bytes
///     additional data, which the tag covers too:
///         0   16 bytes   the volume's id
///        16    8 bytes   the block's number, most significant byte first
///        24              Content-Encoding, its elements joined by "," without blanks: "zstd,encrypt-AES-256-GCM"
///
/// So the tag says that these bytes are this block of this volume, and what to do to them after decryption. It does not say that
/// they are the newest. There is no other metadata, and without `--compress` nothing is compressed: the body then has 40 bytes
/// more than the block.
///
/// XAES-256-GCM derives a fresh AES key from the volume's key and the first 12 bytes of the nonce; the other 12 are the nonce of
/// AES-256-GCM. So no AES key meets more than a handful of nonces, however often the volume is written.
///
/// - Source: Docs/Formats/Encryption.md "Blocks"; C2SP XAES-256-GCM; NIST SP 800-38D.
final class GCMEncryption: BlockEncryption {
    /// The cipher's name, in `--encrypt` and in Content-Encoding.
    static let cipherName = "AES-256-GCM"
    /// The bytes of the block's number in the additional data.
    private static let numberCount = 8
    /// More than the additional data of any list that is read or written: 51 bytes.
    private static let additionalDataMax = 128

    /// See ``BlockEncryption/encodingName``.
    let encodingName = ContentEncoding.encryptionPrefix + cipherName
    /// The element that tells the compression is authenticated, so both forms are safe to read.
    var requiresCompression: Bool { false }
    /// The nonce.
    var headCount: Int { XAES256GCM.nonceCount }
    /// The tag.
    var tailCountMax: Int { XAES256GCM.tagCount }

    private let cipher: XAES256GCM
    private let volumeKey: VolumeKey
    private var volumeID: [UInt8] { volumeKey.id }

    /// Works the key in.
    init(volumeKey: VolumeKey) {
        precondition(volumeKey.id.count == VolumeKey.idCount, "a volume's id has 16 bytes")
        cipher = XAES256GCM(key: volumeKey.key)
        self.volumeKey = volumeKey
    }

    /// The key material is the volume's key, and the salt its id.
    func derivedKey(for label: String) -> SecretBytes {
        KeyDerivation.hkdfSHA256(key: volumeKey.key, salt: volumeKey.id, label: Array(label.utf8), count: VolumeKey.keyCount)
    }

    /// Whether the element is exactly `encrypt-AES-256-GCM`.
    func isNamed(_ element: String) -> Bool { element.utf8.elementsEqual(encodingName.utf8) }

    /// See ``BlockEncryption/encrypt(_:into:of:_:)``.
    func encrypt(
        _ plain: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, of block: BlockNumber,
        _ encoding: ContentEncoding
    ) -> (count: Int, user: [String: String]) {
        let end = headCount + plain.count
        let nonce = UnsafeMutableRawBufferPointer(rebasing: target[..<headCount])
        fillRandom(nonce)
        withAdditionalData(of: block, encoding) { additionalData in
            cipher.seal(
                plain, nonce: UnsafeRawBufferPointer(nonce), additionalData: additionalData,
                into: UnsafeMutableRawBufferPointer(rebasing: target[headCount..<end]),
                tag: UnsafeMutableRawBufferPointer(rebasing: target[end..<end + tailCountMax]))
        }
        return (end + tailCountMax, [:])
    }

    /// See ``BlockEncryption/decrypt(_:_:of:_:into:)``.
    func decrypt(
        _ body: UnsafeRawBufferPointer, _ metadata: ObjectMetadata, of block: BlockNumber, _ encoding: ContentEncoding,
        into target: UnsafeMutableRawBufferPointer
    ) throws(CodecError) -> Int {
        let count = body.count - headCount - tailCountMax
        guard count >= 0 else {
            throw CodecError(
                .notAuthentic, "it has only \(body.count) bytes, fewer than a nonce and a tag: the object was changed")
        }
        let isAuthentic = withAdditionalData(of: block, encoding) { additionalData in
            cipher.open(
                UnsafeRawBufferPointer(rebasing: body[headCount..<headCount + count]),
                nonce: UnsafeRawBufferPointer(rebasing: body[..<headCount]), additionalData: additionalData,
                tag: UnsafeRawBufferPointer(rebasing: body[(headCount + count)...]), into: target)
        }
        guard isAuthentic else {
            throw CodecError(
                .notAuthentic, "its tag does not match: the object was changed, or belongs to another block or volume")
        }
        return count
    }

    private func withAdditionalData<Result>(
        of block: BlockNumber, _ encoding: ContentEncoding, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        // Of a constant size, so that it lies on the stack.
        withUnsafeTemporaryAllocation(byteCount: Self.additionalDataMax, alignment: 8) { bytes in
            bytes.copyBytes(from: volumeID)
            bytes.storeBytes(of: UInt64(block.rawValue).bigEndian, toByteOffset: VolumeKey.idCount, as: UInt64.self)
            var end = VolumeKey.idCount + Self.numberCount
            for element in encoding.elements {
                precondition(end + 1 + element.utf8.count <= bytes.count, "a list holds names that are known")
                if end > VolumeKey.idCount + Self.numberCount {
                    bytes[end] = UInt8(ascii: ",")
                    end += 1
                }
                for byte in element.utf8 {
                    bytes[end] = byte
                    end += 1
                }
            }
            return body(UnsafeRawBufferPointer(rebasing: bytes[..<end]))
        }
    }
}
