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
    private let ownPriority: IOPriority

    /// What can raise the request while it is under way; nil where nobody can, and then it costs nothing.
    public let escalation: IOEscalation?

    /// Makes a context whose priority stays.
    public init(priority: IOPriority) {
        ownPriority = priority
        escalation = nil
    }

    /// Makes a context of the background, until `escalation` is raised.
    public init(escalation: IOEscalation) {
        ownPriority = .background
        self.escalation = escalation
    }

    /// Whether somebody waits for it, at this moment.
    public var priority: IOPriority {
        guard let escalation, escalation.isRaised else { return ownPriority }
        return .foreground
    }

    /// A request that a system call waits for.
    public static let foreground = IOContext(priority: .foreground)
    /// A request that nobody waits for.
    public static let background = IOContext(priority: .background)
}
