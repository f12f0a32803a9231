// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import StoreTesting
import Volumes

/// The way in which a volume is stored; it stays over all mounts of a scenario, but for the compression.
enum Form: String, CaseIterable, Sendable {
    case plain, deflate, zstd, aes128, aes256, des, gcm, gcmZstd

    /// The forms by how often they are drawn: the compatible ones turn a password into a key in milliseconds, which is more than
    /// many a whole scenario takes.
    private static let lots: [Form] = [
        .plain, .plain, .plain, .deflate, .deflate, .zstd, .zstd, .aes128, .aes256, .des,
        .gcm, .gcm, .gcm, .gcmZstd, .gcmZstd, .gcmZstd,
    ]

    /// Draws a form.
    static func draw(_ generator: inout SeededGenerator) -> Form {
        lots[Int.random(in: 0..<lots.count, using: &generator)]
    }

    /// Whether the volume has a key object.
    var hasKey: Bool { self == .gcm || self == .gcmZstd }
    /// Whether the volume has a password.
    var isEncrypted: Bool { hasKey || isCompatible }
    /// Whether each block has an HMAC beside it.
    var isCompatible: Bool { self == .aes128 || self == .aes256 || self == .des }

    /// How blocks are compressed, unless a mount changes that.
    var compression: Compression? {
        switch self {
        case .plain, .gcm: nil
        case .zstd, .gcmZstd: .zstd(level: 1)
        case .deflate, .aes128, .aes256, .des: .deflate(level: 1)
        }
    }

    /// What the user says for a mount.
    func options(_ compression: Compression?, _ password: SecretBytes, salt: String) -> CodecOptions {
        let scheme: EncryptionOptions.Scheme? =
            switch self {
            case .plain, .deflate, .zstd: nil
            case .aes128: .compatible(.aes128CBC, keyCount: nil)
            case .aes256: .compatible(.aes256CBC, keyCount: nil)
            case .des: .compatible(.desEDE3CBC, keyCount: nil)
            case .gcm, .gcmZstd: .aes256GCM
            }
        return CodecOptions(
            compression: compression,
            encryption: scheme.map { EncryptionOptions(scheme: $0, password: password, salt: salt) },
            defaultContentEncoding: nil)
    }
}
