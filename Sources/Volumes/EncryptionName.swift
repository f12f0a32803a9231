// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// What objects say about their encryption, and what `--encrypt` must say then.
enum EncryptionName {
    /// The scheme with a volume key.
    static let aes256GCM = GCMEncryption.cipherName

    /// The encryption that a Content-Encoding names, spelt as `--encrypt` has it where it is known; nil when it names none.
    static func of(_ encoding: ContentEncoding?) -> String? {
        guard let encoding else { return nil }
        for element in encoding.elements.reversed() {
            guard let name = element.dropping(ContentEncoding.encryptionPrefix) else { continue }
            if name.isSpelt(aes256GCM) { return aes256GCM }
            return BlockCipher(named: name)?.canonicalName ?? name
        }
        return nil
    }

    /// What is wrong with a volume that is stored in the way `name`, which is not the configured one, and what to do.
    ///
    /// - Parameter name: As ``of(_:)`` gives it.
    static func cure(_ name: String?) -> String {
        guard let name else { return "the volume is not encrypted; leave out --encrypt" }
        guard name == aes256GCM || BlockCipher(named: name) != nil else {
            return "the volume is encrypted with \"\(name.quotable)\", which this program does not know"
        }
        return "the volume is encrypted with \(name); use --encrypt=\(name)"
    }
}
