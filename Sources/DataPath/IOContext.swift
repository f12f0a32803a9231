// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Whether somebody waits for a request.
public enum IOPriority: Int, Sendable, Comparable, CaseIterable {
    /// Nobody waits: write-back, read-ahead, a survey, the watch of the mount token.
    case background
    /// A system call of the user waits.
    case foreground

    /// Background is less than foreground.
    public static func < (left: IOPriority, right: IOPriority) -> Bool { left.rawValue < right.rawValue }
}

/// What a request carries through both waists beside its data.
public struct IOContext: Sendable {
    /// Whether somebody waits for it.
    public let priority: IOPriority

    /// Makes a context.
    public init(priority: IOPriority) { self.priority = priority }

    /// A request that a system call waits for.
    public static let foreground = IOContext(priority: .foreground)
    /// A request that nobody waits for.
    public static let background = IOContext(priority: .background)
}
