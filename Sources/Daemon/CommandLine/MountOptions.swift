// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a word of a `-o` list that is no option of ours means: the vocabulary of mount(8) and of libfuse.
///
/// - Source: 'man 8 mount' "Filesystem-independent mount options", 'man 8 mount.fuse3'.
enum MountOption: Equatable {
    /// Belongs to FUSE: kernel or libfuse act on it.
    case fuse
    /// Read only.
    case readOnly
    /// The owner of everything in the mounted directory.
    case userID(UInt32)
    /// The group of everything in the mounted directory.
    case groupID(UInt32)
    /// Means nothing here: an order to mount(8) or systemd, or what holds anyway.
    case withoutEffect

    /// Orders to mount(8), to systemd and to mount.fuse, and what cannot matter for two plain files that are always mounted
    /// with `nodev,nosuid`.
    private static let ignored: Set<String> = [
        "defaults", "rw", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup",
        "nofail", "_netdev", "dev", "nodev", "suid", "nosuid", "relatime", "norelatime", "strictatime", "nostrictatime",
        "lazytime", "nolazytime", "diratime", "iversion", "noiversion", "silent", "loud", "mand", "nomand", "nonempty",
        "use_ino", "readdir_ino", "kernel_cache", "auto_cache", "noauto_cache", "big_writes", "hard_remove", "direct_io",
    ]
    private static let ignoredWithValue: Set<String> = [
        "comment", "entry_timeout", "negative_timeout", "attr_timeout", "ac_attr_timeout",
    ]
    private static let passed: Set<String> = [
        "allow_other", "allow_root", "auto_unmount", "default_permissions", "exec", "noexec", "sync", "async", "dirsync",
        "atime", "noatime", "nodiratime",
    ]
    private static let passedWithValue: Set<String> = [
        "fsname", "subtype", "max_read", "context", "fscontext", "defcontext", "rootcontext",
    ]

    /// Recognises a word of a `-o` list; nil when nobody knows it.
    init?(word: String) {
        let (name, value) = splitAtEquals(word)
        switch (name, value) {
        case ("ro", nil): self = .readOnly
        case ("uid", .some(let text)):
            guard let number = UInt32(text) else { return nil }
            self = .userID(number)
        case ("gid", .some(let text)):
            guard let number = UInt32(text) else { return nil }
            self = .groupID(number)
        case (let name, nil) where Self.passed.contains(name): self = .fuse
        case (let name, .some) where Self.passedWithValue.contains(name): self = .fuse
        case (let name, nil) where Self.ignored.contains(name): self = .withoutEffect
        case (let name, .some) where Self.ignoredWithValue.contains(name): self = .withoutEffect
        case (let name, _) where name.hasPrefix("x-") || name.hasPrefix("X-") || name == "comment": self = .withoutEffect
        default: return nil
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
            let escaped = isOctal ? digits.reduce(0) { ($0 & 31) << 3 | $1 - 48 } : next
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
