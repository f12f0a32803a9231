// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// What has to be undone to turn an object's bytes into a block, found from its Content-Encoding before any byte is looked at.
///
/// - Source: Docs/Formats/Direct.md "Content-Encoding".
struct DecodingPlan {
    /// The list, as it stands in the object.
    let encoding: ContentEncoding
    /// Whether the bytes are decrypted first.
    let isEncrypted: Bool
    /// How they are decompressed then; nil leaves them.
    let compression: Compression.Kind?

    /// Reads a list.
    ///
    /// - Parameter encryption: The only one that is accepted, and required; nil accepts none.
    /// - Throws: `.unknownEncoding`, `.otherEncryption`, `.notEncrypted`.
    init(_ encoding: ContentEncoding, _ encryption: (any BlockEncryption)?) throws(CodecError) {
        self.encoding = encoding
        isEncrypted = encryption != nil
        if let encryption {
            compression = try Self.compression(of: encoding, under: encryption)
        } else {
            compression = try Self.compression(of: encoding)
        }
    }

    /// Without encryption: nothing, or one compression, in any case of letters.
    private static func compression(of encoding: ContentEncoding) throws(CodecError) -> Compression.Kind? {
        let elements = encoding.elements.filter { !$0.isSpelt(ContentEncoding.identity) }
        guard let last = elements.last else { return nil }
        if let cipher = last.dropping(ContentEncoding.encryptionPrefix) {
            let cure = name(of: cipher).map { "mount with --encrypt=\($0) and its password" }
            throw CodecError(
                .otherEncryption,
                "it is encrypted (Content-Encoding \"\(encoding.text.quotable)\") and --encrypt was not given; "
                    + (cure ?? "this version does not know that cipher"))
        }
        guard let kind = Compression.kind(of: last) else {
            throw CodecError(
                .unknownEncoding,
                "its Content-Encoding \"\(encoding.text.quotable)\" names \"\(last.quotable)\", which is not known")
        }
        guard elements.count == 1 else {
            throw CodecError(
                .unknownEncoding,
                "its Content-Encoding \"\(encoding.text.quotable)\" is no order of a block: compression must come first, and once"
            )
        }
        return kind
    }

    /// With encryption: one compression, optional only if the encryption authenticates that it is missing, then the encryption;
    /// all spelt as a writer spells them, because the compatible scheme does not authenticate the header.
    private static func compression(
        of encoding: ContentEncoding, under encryption: any BlockEncryption
    ) throws(CodecError) -> Compression.Kind? {
        guard let last = encoding.elements.last, let cipher = last.dropping(ContentEncoding.encryptionPrefix) else {
            throw CodecError(
                .notEncrypted,
                "it is not encrypted, and with --encrypt only encrypted blocks are read; "
                    + "either the volume is not encrypted, then mount without --encrypt, or the object was changed")
        }
        guard encryption.isNamed(last) else {
            let used = encryption.encodingName.dropping(ContentEncoding.encryptionPrefix) ?? encryption.encodingName
            if let name = name(of: cipher), name != used {
                throw CodecError(
                    .otherEncryption, "it is encrypted with \(name) and not with \(used); mount with --encrypt=\(name)")
            }
            throw unexpected(encoding)
        }
        let others = encoding.elements.dropLast()
        guard let first = others.first else {
            if encryption.requiresCompression { throw unexpected(encoding) }
            return nil
        }
        guard others.count == 1, let kind = Compression.kind(of: first), first.utf8.elementsEqual(kind.name.utf8) else {
            throw unexpected(encoding)
        }
        return kind
    }

    /// What `--encrypt` calls a cipher; nil when it is not known.
    private static func name(of cipher: String) -> String? {
        cipher.isSpelt(GCMEncryption.cipherName) ? GCMEncryption.cipherName : BlockCipher(named: cipher)?.canonicalName
    }

    private static func unexpected(_ encoding: ContentEncoding) -> CodecError {
        CodecError(
            .unknownEncoding,
            "its Content-Encoding \"\(encoding.text.quotable)\" is none that an encrypted block is written with: the object was changed"
        )
    }
}
