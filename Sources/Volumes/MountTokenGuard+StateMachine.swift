// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Whether the volume may still be changed; pure.
///
///     held     -- a look is due (``checkInterval`` is over, or a request has failed) -->  checking
///     checking -- the token is ours -->  held        -- no answer -->  held, a look still due
///     checking -- it is not         -->  lost        (for ever)
struct MountTokenGuardStateMachine {
    /// How old the last look may be before a mutation; so a foreign mount is noticed within this time while writing.
    static let checkInterval = Duration.seconds(60)

    /// What somebody who wants to change the volume must do.
    enum Permission: Hashable, Sendable {
        /// Go on.
        case granted
        /// Read the token, then call ``endCheck(_:)``.
        case check
        /// Somebody else reads the token; ask again afterwards.
        case wait
        /// Never: this is who holds the volume; nil when nobody does.
        case lost(to: MountTokenRecord?)
    }

    /// What a look at the token showed.
    enum Finding: Hashable, Sendable {
        /// It is ours.
        case ours
        /// It is not; nil: there is none.
        case foreign(MountTokenRecord?)
        /// The store did not answer.
        case unanswered
    }

    private enum State {
        case held
        case checking(beganAt: Duration, hasFailedSince: Bool)
        case lost(to: MountTokenRecord?)
    }
    private var state = State.held
    private var verifiedAt: Duration
    private var hasFailed = false

    /// - Parameter verifiedAt: When the token was seen to be ours.
    init(verifiedAt: Duration) { self.verifiedAt = verifiedAt }

    /// Whether somebody is reading the token.
    var isChecking: Bool {
        if case .checking = state { true } else { false }
    }

    /// Who holds the volume now, if it is lost: `.lost`, else nil.
    var loss: Permission? {
        if case .lost(let record) = state { .lost(to: record) } else { nil }
    }

    /// Asks for leave to change the volume.
    mutating func ask(now: Duration) -> Permission {
        switch state {
        case .lost(let record): return .lost(to: record)
        case .checking: return .wait
        case .held:
            guard hasFailed || now - verifiedAt >= Self.checkInterval else { return .granted }
            state = .checking(beganAt: now, hasFailedSince: false)
            return .check
        }
    }

    /// Notes that a request failed or stayed without an answer: we may have been away for longer than it seems.
    mutating func noteFailure() {
        hasFailed = true
        if case .checking(let beganAt, _) = state { state = .checking(beganAt: beganAt, hasFailedSince: true) }
    }

    /// Ends the look that ``Permission/check`` asked for.
    mutating func endCheck(_ finding: Finding) {
        guard case .checking(let beganAt, let hasFailedSince) = state else { preconditionFailure("nobody is looking") }
        switch finding {
        case .ours:
            state = .held
            verifiedAt = beganAt
            hasFailed = hasFailedSince
        case .foreign(let record): state = .lost(to: record)
        case .unanswered:
            state = .held
            hasFailed = true
        }
    }
}
