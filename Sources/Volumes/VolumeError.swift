// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Why a volume cannot be opened, or not be left in order.
public struct VolumeError: Error, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: String, Sendable, CaseIterable {
        /// The sizes are not known, not possible, or not those of the volume.
        case geometry
        /// Somebody else has mounted the volume.
        case alreadyMounted
        /// The password is not that of the volume, as far as can be told.
        case password
        /// The volume is stored in another way than the options say, or its key object is missing or cannot be read.
        case encryption
        /// The cache of an earlier run holds data that the store does not have, and which may not belong there any more.
        case unsavedData
        /// The cache file cannot be used.
        case cacheFile
        /// The object store failed.
        case store
    }

    /// What kind of failure it is.
    public let code: Code
    /// What could not be done, why, and what to do, in one line for the user; never a secret.
    public let message: String
    /// The failure below that led to this one.
    public let cause: (any Error)?

    /// Makes an error.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// The message.
    public var description: String { message }
}
