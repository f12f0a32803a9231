// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a word of a `-o` list that is no option of ours means: the vocabulary of mount(8).
///
/// What this knows nothing of is FUSE's, which refuses in turn what it does not know.
///
/// - Source: 'man 8 mount' "Filesystem-independent mount options", 'man 5 systemd.mount'.
enum MountOption: Equatable {
    /// Read only.
    case readOnly
    /// Means nothing here: an order to mount(8) or systemd, or what holds anyway.
    case withoutEffect

    /// Orders to mount(8) and systemd, and what cannot matter for two plain files that are always mounted `nodev,nosuid`.
    private static let ignored: Set<String> = [
        "defaults", "rw", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup",
        "nofail", "_netdev", "dev", "nodev", "suid", "nosuid", "relatime", "norelatime", "strictatime", "nostrictatime",
        "lazytime", "nolazytime", "diratime", "nodiratime", "iversion", "noiversion", "silent", "loud", "mand", "nomand",
        "comment",
    ]

    /// Recognises a word of a `-o` list; nil when mount(8) does not know it either.
    init?(word: String) {
        let (name, value) = splitAtEquals(word)
        if name == "ro", value == nil {
            self = .readOnly
        } else if name.hasPrefix("x-") || name.hasPrefix("X-") || name == "comment" || name == "user" {
            self = .withoutEffect
        } else if value == nil, Self.ignored.contains(name) {
            self = .withoutEffect
        } else {
            return nil
        }
    }
}

/// Splits `NAME=VALUE` at the first `=`; the value is nil when there is none.
func splitAtEquals(_ word: String) -> (name: String, value: String?) {
    guard let equals = word.firstIndex(of: "=") else { return (word, nil) }
    return (String(word[..<equals]), String(word[word.index(after: equals)...]))
}

/// Cuts a `-o` list at its commas.
///
/// A backslash takes away the meaning of the character behind it; three octal digits behind it stand for a byte.
///
/// - Returns: The words as they are meant, and as they were written.
/// - Source: libfuse, fuse_opt.h, "fuse_opt_parse".
func splitOptionList(_ list: String) -> [(word: String, written: String)] {
    var words: [(word: String, written: String)] = []
    var word: [UInt8] = []
    var written: [UInt8] = []
    let finish = {
        if !written.isEmpty { words.append((String(decoding: word, as: UTF8.self), String(decoding: written, as: UTF8.self))) }
        word = []
        written = []
    }
    var rest = Array(list.utf8)[...]
    while let byte = rest.popFirst() {
        if byte == UInt8(ascii: ",") {
            finish()
        } else if byte == UInt8(ascii: "\\"), let next = rest.first {
            let digits = rest.prefix(3)
            let isOctal = digits.count == 3 && digits.allSatisfy { (48...55).contains($0) }
            let escaped = isOctal ? digits.reduce(0) { ($0 & 31) << 3 | ($1 - 48) } : next
            written += [byte] + rest.prefix(isOctal ? 3 : 1)
            word.append(escaped)
            rest = rest.dropFirst(isOctal ? 3 : 1)
        } else {
            word.append(byte)
            written.append(byte)
        }
    }
    finish()
    return words
}

/// Puts the backslashes in that ``splitOptionList(_:)`` takes out.
func escapeForOptionList(_ word: String) -> String {
    var written = String.UnicodeScalarView()
    for scalar in word.unicodeScalars {
        if scalar == "," || scalar == "\\" { written.append("\\") }
        written.append(scalar)
    }
    return String(written)
}
