// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Why a file system could not be mounted, or could not go on.
///
/// The message is for the user as it stands: what could not be done, to what, why, and what to do about it.
public struct FUSEError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: String, Sendable, CaseIterable {
        /// A `-o` option that nobody knows, or one with a value that makes no sense.
        case badOption
        /// The machine has no FUSE, or does not let this user have it.
        case unavailable
        /// The mount point is missing, no directory, or taken.
        case badMountPoint
        /// The kernel, or fusermount3, refused the mount.
        case refused
        /// The machine gives no more threads or memory.
        case outOfResources
        /// A stop was asked for before the mount.
        case stopped
        /// The connection with the kernel broke.
        case connection
    }

    /// What kind of failure it is.
    public let code: Code
    /// The one line for the user.
    public let message: String

    /// Makes an error.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}
