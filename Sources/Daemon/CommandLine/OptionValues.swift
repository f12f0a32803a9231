// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ArgumentParser

/// A whole number as scanf(3) reads it: the leading digits count, what follows them does not.
///
/// That is what the C program takes; the caller warns about what was left out.
struct WholeNumber: Equatable, Sendable {
    /// The number; at most 2^32 - 1.
    let value: Int
    /// What stood behind the digits; empty in a proper number.
    let ignored: String

    /// Reads the leading digits; nil when there are none, or when they are more than 32 bits.
    init?(parsing text: String) {
        let digits = text.utf8.prefix { (48...57).contains($0) }
        guard let value = UInt32(String(decoding: digits, as: UTF8.self)) else { return nil }
        self.value = Int(value)
        ignored = String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self)
    }
}

extension WholeNumber: ExpressibleByArgument {
    init?(argument: String) { self.init(parsing: argument) }
}

/// Permissions of a file, written in octal.
struct FileMode: Equatable, Sendable {
    /// The permission bits, at most 0o777.
    let bits: UInt32

    init(bits: UInt32) { self.bits = bits }
}

extension FileMode: ExpressibleByArgument {
    init?(argument: String) {
        guard !argument.isEmpty, argument.utf8.allSatisfy({ (48...55).contains($0) }) else { return nil }
        guard let bits = UInt32(argument, radix: 8), bits <= 0o777 else { return nil }
        self.bits = bits
    }
}

extension OptionDescription {
    /// Checks what was given as the value, before anything is done with it.
    ///
    /// - Returns: A warning, or nil.
    /// - Throws: The user's line, when the value is missing, superfluous or not of the option's form.
    func check(value: String?) throws(UserError) -> String? {
        switch (form, value) {
        case (.flag, nil), (.text, .some), (.optionalText, nil): return nil
        case (.flag, .some): throw UserError("cannot use \"--\(name)=...\": the option takes no value; write \"--\(name)\"")
        case (_, nil): throw UserError("cannot use \"--\(name)\": its value is missing; write \"\(usage)\"")
        case (.optionalText(let word), .some(let text)):
            guard !text.isEmpty else {
                throw UserError("cannot use \"--\(name)=\": its value is missing; write \"--\(name)\" or \"--\(name)=\(word)\"")
            }
        case (.number, .some(let text)): return try check(number: text)
        case (.size(let what), .some(let text)): try check(size: text, of: what)
        case (.fileMode, .some(let text)):
            guard FileMode(argument: text) != nil else {
                throw UserError("invalid file mode \"\(text)\" in \"--\(name)\": give octal permissions such as 0600")
            }
        }
        return nil
    }

    private func check(number text: String) throws(UserError) -> String? {
        guard let number = WholeNumber(parsing: text) else {
            throw UserError("invalid number \"\(text)\" in \"--\(name)\": give a whole number below 2^32")
        }
        guard !number.ignored.isEmpty else { return nil }
        return "warning: of \"--\(name)=\(text)\" only the number \(number.value) is used"
    }

    private func check(size text: String, of what: String) throws(UserError) {
        do {
            _ = try ByteSize(parsing: text)
        } catch {
            switch error {
            case .malformed:
                throw UserError(
                    "invalid \(what) \"\(text)\": give a positive number with an optional suffix such as k, m, g or t")
            case .tooLarge:
                throw UserError("invalid \(what) \"\(text)\": 64 bits cannot hold it; give a smaller one")
            }
        }
    }
}
