// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A failure as the user reads it: one line, in the user's own words, with what to do.
///
/// Printed once, on standard error, after `s3backer: `; the process then ends with status 1. It never holds a secret.
public struct UserError: Error, Equatable, CustomStringConvertible {
    /// `cannot <what>: <cause>; <what to do>`, in lower case and without the program's name.
    public let message: String

    /// Makes a failure from its one line.
    public init(_ message: String) { self.message = message }

    /// The message.
    public var description: String { message }
}
