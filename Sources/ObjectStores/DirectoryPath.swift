// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The place of an object below the directory of a ``DirectoryObjectStore``, and the names that the store keeps for itself.
///
/// Every file of the store's own begins with ``reserved``; no key may have such a component, so neither a block nor any
/// other object can meet one.
struct DirectoryPath: Hashable, Sendable {
    /// What the names of the store's own files begin with.
    static let reserved = ".s3backer."
    /// The file whose bytes are locked.
    static let lockName = reserved + "lock"

    /// The directories on the way, from the top; empty for a key without slash.
    let parents: [String]
    /// The last component: the name of the file.
    let name: String

    /// The directory that holds the file, relative to the top; "." for the top itself.
    var parent: String { parents.isEmpty ? "." : parents.joined(separator: "/") }

    /// The file, relative to the top.
    var file: String { (parents + [name]).joined(separator: "/") }

    /// The name of the file beside it that holds its metadata.
    var sidecarName: String { Self.reserved + "meta." + name }

    /// Finds the place of an object.
    ///
    /// - Throws: `.badRequest` for a key that would leave the directory or is no file name: empty components (so also a slash at
    ///   the beginning or the end), `.`, `..`, NUL, and the store's own names.
    init(_ key: ObjectKey) throws(ObjectStoreError) {
        // By bytes: a slash with a combining mark is one Character to Swift, and still a slash to the kernel.
        var components = key.name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        let isSafe = components.allSatisfy { component in
            !component.isEmpty && component != "." && component != ".." && !component.utf8.contains(0)
                && !Self.isReserved(component)
        }
        guard isSafe, let name = components.popLast() else {
            throw ObjectStoreError(
                .badRequest, "cannot store object \"\(key)\" in a directory: its name is no path within it",
                outcomeIsUnknown: false)
        }
        self.name = name
        parents = components
    }

    /// A name for a file that is not finished; unlike any other, also of other processes.
    static func temporaryName() -> String {
        reserved + "tmp." + String(UInt64.random(in: .min ... .max), radix: 16)
    }

    /// Whether a file is the store's own.
    static func isReserved(_ name: String) -> Bool { name.utf8.starts(with: reserved.utf8) }

    /// Whether a file is an unfinished one.
    static func isTemporary(_ name: String) -> Bool { name.utf8.starts(with: (reserved + "tmp.").utf8) }

    /// The byte of the lock file that stands for this object: FNV-1a of its path, in 62 bits.
    ///
    /// Two objects on one byte only wait for each other. Byte 0 is never used.
    var lockByte: Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in file.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return Int(hash >> 2) | 1
    }
}
