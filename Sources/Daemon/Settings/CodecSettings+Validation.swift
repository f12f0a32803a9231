// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Volumes

extension CodecSettings {
    /// Checks what the options say about compression and encryption. Reads no password.
    ///
    /// - Parameter warnings: Gets a line for each option that has no effect.
    /// - Throws: What is unknown, out of range, or contradicts itself.
    init(_ options: ParsedOptions, warnings: inout [String]) throws(UserError) {
        encryption = try EncryptionSettings(options, warnings: &warnings)
        compression = try Self.compression(options, encryption?.scheme)
        defaultContentEncoding = try Self.defaultContentEncoding(options.defaultContentEncoding)
        if options.newPasswordFile != nil, !options.changePassword {
            warnings.append("warning: \"--newPasswordFile\" has no effect without \"--changePassword\"")
        }
    }

    /// The compression in force; the C program's encryption always compresses.
    private static func compression(
        _ options: ParsedOptions, _ scheme: EncryptionOptions.Scheme?
    ) throws(UserError) -> Compression? {
        guard let text = options.compress ?? impliedCompression(scheme) else {
            guard let level = options.compressLevel else { return nil }
            throw UserError("cannot use \"--compress-level=\(level)\" without compression: add \"--compress\"")
        }
        // The C program once took the level in place of the algorithm.
        let legacyLevel = Int(text)
        guard let kind = text.isEmpty || legacyLevel != nil ? .deflate : Compression.Kind(rawValue: text.lowercased()) else {
            let known = Compression.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw UserError("invalid compression \"\(text)\" for \"--compress\": use one of \(known)")
        }
        if let legacyLevel, let level = options.compressLevel, Int(level) != legacyLevel {
            throw UserError("cannot use \"--compress=\(text)\" with \"--compress-level=\(level)\": both are levels; give one")
        }
        let given = options.compressLevel ?? (legacyLevel == nil ? nil : text)
        let level = given.map { Int($0) } ?? kind.defaultLevel
        guard let level, kind.levels.contains(level) else {
            throw UserError(
                "invalid compression level \"\(given ?? "")\": \(kind.rawValue) takes a number from \(kind.levels.lowerBound) "
                    + "to \(kind.levels.upperBound)")
        }
        return Compression(kind, level: level)
    }

    private static func impliedCompression(_ scheme: EncryptionOptions.Scheme?) -> String? {
        guard case .compatible(_, keyCount: _)? = scheme else { return nil }
        return Compression.Kind.deflate.rawValue
    }

    private static func defaultContentEncoding(_ text: String?) throws(UserError) -> ContentEncoding? {
        guard let text else { return nil }
        let encoding = ContentEncoding(parsing: text)
        if let element = encoding.firstUnreadable {
            throw UserError(
                "invalid encoding \"\(text)\" for \"--defaultContentEncoding\": \"\(element)\" is not known there; "
                    + "give a compression, an encryption, or both, such as \"deflate\" or \"deflate,encrypt-AES-128-CBC\"")
        }
        return encoding
    }
}

extension EncryptionSettings {
    /// What `--encrypt` means without a cipher.
    private static let defaultCipher = BlockCipher.aes128CBC

    /// The longest key that the C program derives, in bytes.
    private static let keyCountMax = 64

    /// Checks what the options say about encryption; nil when there is none.
    ///
    /// `--changePassword` alone means AES-256-GCM: no other scheme can change its password.
    init?(_ options: ParsedOptions, warnings: inout [String]) throws(UserError) {
        guard let name = options.encrypt ?? (options.changePassword ? EncryptionOptions.Scheme.gcmName : nil) else {
            let given = [
                (OptionDescription.password, options.password != nil), (.passwordFile, options.passwordFile != nil),
                (.keyLength, options.keyLength != nil),
            ]
            for (option, isGiven) in given where isGiven {
                warnings.append("warning: unexpected flag \"--\(option.name)\" (\"--encrypt\" was not specified)")
            }
            return nil
        }
        scheme = try Self.scheme(named: name, keyLength: options.keyLength?.value)
        guard !options.changePassword || scheme == .aes256GCM else {
            throw UserError(
                "cannot use \"--changePassword\" with \"--encrypt\(name.isEmpty ? "" : "=" + name)\": the password of "
                    + "\(scheme.cipherName) is its key; only volumes of \(EncryptionOptions.Scheme.gcmName) can change theirs")
        }
        password = try PasswordSource(options)
    }

    private static func scheme(named name: String, keyLength: Int?) throws(UserError) -> EncryptionOptions.Scheme {
        if name.uppercased() == EncryptionOptions.Scheme.gcmName {
            guard keyLength == nil else {
                throw UserError("cannot use \"--keyLength\" with \"--encrypt=\(name)\": its keys have one length; leave it out")
            }
            return .aes256GCM
        }
        guard let cipher = name.isEmpty ? defaultCipher : BlockCipher(named: name) else {
            let known = BlockCipher.allCases.map(\.canonicalName) + [EncryptionOptions.Scheme.gcmName]
            throw UserError("invalid cipher \"\(name)\" for \"--encrypt\": use one of \(known.joined(separator: ", "))")
        }
        guard let keyLength, keyLength != 0 else { return .compatible(cipher, keyCount: nil) }
        guard (cipher.keyCount...keyCountMax).contains(keyLength) else {
            throw UserError(
                "invalid key length \(keyLength) for \"--keyLength\": \(cipher.canonicalName) takes \(cipher.keyCount) to "
                    + "\(keyCountMax), or 0 for its own")
        }
        return .compatible(cipher, keyCount: keyLength)
    }
}

extension PasswordSource {
    /// Finds out where the password is.
    ///
    /// - Throws: When two places are named, and when the command line could not carry the password.
    init(_ options: ParsedOptions) throws(UserError) {
        guard let text = options.password?.revealed else {
            self = options.passwordFile.map(PasswordSource.file) ?? .terminal
            return
        }
        guard options.passwordFile == nil else {
            throw UserError("cannot use \"--password\" and \"--passwordFile\" together: they exclude each other; give one")
        }
        // Bytes that are no UTF-8 arrive here as replacement characters: another password, that would open nothing.
        guard !text.unicodeScalars.contains("\u{FFFD}") else {
            throw UserError("cannot use \"--password\": it is not UTF-8; use \"--passwordFile\", which takes any bytes")
        }
        self = .given(SecretBytes(Array(text.utf8)))
    }
}
