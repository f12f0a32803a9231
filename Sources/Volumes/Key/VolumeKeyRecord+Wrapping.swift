// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// How a password wraps the key of a volume: scrypt makes a key of it, under which XAES-256-GCM seals the volume's key, bound to
/// every other line of the record.
///
/// - Concurrency: takes the time and memory of scrypt, on the caller's thread.
extension VolumeKeyRecord {
    /// Wraps a key.
    ///
    /// - Parameters:
    ///   - salt: Fresh: the same salt and nonce for another key or password would spend the nonce twice.
    ///   - nonce: Fresh, too.
    /// - Returns: Nil when there is not the memory that scrypt takes.
    init?(
        wrapping key: VolumeKey, by password: SecretBytes, _ parameters: ScryptParameters, salt: [UInt8], nonce: [UInt8]
    ) {
        precondition(salt.count == Self.saltCount && nonce.count == XAES256GCM.nonceCount, "the record has these counts")
        self.init(volume: key.id, parameters: parameters, salt: salt, nonce: nonce, wrapped: [])
        guard let cipher = Self.cipher(password, salt: salt, parameters) else { return nil }
        let head = head
        // The sealed bytes are no secret; the plain ones are sealed where they stand, and are never elsewhere.
        wrapped = [UInt8](unsafeUninitializedCapacity: Self.wrappedCount) { target, count in
            let whole = UnsafeMutableRawBufferPointer(start: target.baseAddress, count: Self.wrappedCount)
            key.key.withBytes { whole.copyMemory(from: $0) }
            let plain = UnsafeMutableRawBufferPointer(rebasing: whole[..<VolumeKey.keyCount])
            let tag = UnsafeMutableRawBufferPointer(rebasing: whole[VolumeKey.keyCount...])
            nonce.withUnsafeBytes { nonce in
                head.withUnsafeBytes { cipher.seal(plain, nonce: nonce, additionalData: $0, tag: tag) }
            }
            count = Self.wrappedCount
        }
    }

    /// Wraps a key with a fresh salt and nonce; see ``init(wrapping:by:_:salt:nonce:)``.
    init?(wrapping key: VolumeKey, by password: SecretBytes, _ parameters: ScryptParameters) {
        self.init(
            wrapping: key, by: password, parameters, salt: Self.random(Self.saltCount),
            nonce: Self.random(XAES256GCM.nonceCount))
    }

    /// What became of an attempt to unwrap.
    enum Unwrapping: Sendable {
        /// The key.
        case key(VolumeKey)
        /// Another password, or a changed record; one cannot be told from the other.
        case notAuthentic
        /// There is not the memory that scrypt takes.
        case outOfMemory
    }

    /// Unwraps the key.
    func unwrap(by password: SecretBytes) -> Unwrapping {
        guard let cipher = Self.cipher(password, salt: salt, parameters) else { return .outOfMemory }
        let head = head
        var isAuthentic = false
        let key = SecretBytes(count: VolumeKey.keyCount) { target in
            wrapped.withUnsafeBytes { wrapped in
                nonce.withUnsafeBytes { nonce in
                    head.withUnsafeBytes { head in
                        isAuthentic = cipher.open(
                            UnsafeRawBufferPointer(rebasing: wrapped[..<VolumeKey.keyCount]), nonce: nonce, additionalData: head,
                            tag: UnsafeRawBufferPointer(rebasing: wrapped[VolumeKey.keyCount...]), into: target)
                    }
                }
            }
        }
        return isAuthentic ? .key(VolumeKey(id: volume, key: key)) : .notAuthentic
    }

    private static func cipher(
        _ password: SecretBytes, salt: [UInt8], _ parameters: ScryptParameters
    ) -> XAES256GCM? {
        KeyDerivation.scrypt(password: password, salt: salt, parameters, count: VolumeKey.keyCount).map { XAES256GCM(key: $0) }
    }

    private static func random(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { target, filled in
            fillRandom(UnsafeMutableRawBufferPointer(start: target.baseAddress, count: count))
            filled = count
        }
    }
}

extension VolumeKey {
    /// Makes the key of a new volume.
    static func fresh() -> VolumeKey {
        var id = [UInt8](repeating: 0, count: idCount)
        id.withUnsafeMutableBytes { fillRandom($0) }
        return VolumeKey(id: id, key: SecretBytes(count: keyCount) { fillRandom($0) })
    }
}
