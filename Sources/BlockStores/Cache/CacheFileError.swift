// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import Cryptography

/// Why a cache file cannot be used.
public struct CacheFileError: Error, Equatable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: Sendable, CaseIterable {
        /// Another process uses the file.
        case inUse
        /// The file is one of the C program.
        case foreign
        /// The file is something else, or no file.
        case notACacheFile
        /// A newer program wrote it.
        case otherVersion
        /// It belongs to another volume.
        case otherVolume
        /// It was made for another block size.
        case otherBlockSize
        /// It is encrypted and should not be, or the reverse.
        case otherEncryption
        /// The key is not the one it was made with.
        case wrongKey
        /// Its tables are damaged.
        case damaged
        /// The disk has no room for it.
        case noSpace
        /// It holds more unsaved blocks than the new size has room for.
        case tooSmall
        /// The local disk failed, or refuses.
        case io
    }

    /// What kind of failure it is.
    public let code: Code
    /// What could not be done, why, and what to do; one line.
    public let message: String

    /// Makes an error.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}

/// What a cache file is to be like.
public struct CacheFileOptions: Sendable {
    /// Which volume's blocks it keeps: endpoint, bucket and prefix, in words fit for a message; at most 3,840 bytes.
    public var identity: String
    /// The bytes of a block; a power of two, 512 or more.
    public var blockSize: Int
    /// How many blocks it holds.
    public var slotCount: Int
    /// The key it is encrypted with, 32 bytes; nil for a plain file.
    public var key: SecretBytes?
    /// Whether the kernel is told to forget pages that were read or written.
    public var isAdvised = false
    /// Whether a file of the C program is kept under another name and a new one is begun.
    public var isForced = false

    /// Describes a file.
    public init(identity: String, blockSize: Int, slotCount: Int, key: SecretBytes?) {
        self.identity = identity
        self.blockSize = blockSize
        self.slotCount = slotCount
        self.key = key
    }
}
