// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Whether the volume may still be changed; pure.
///
///     held     -- a look is due (``checkInterval`` is over, or a request has failed) -->  checking
///     checking -- the token is ours -->  held        -- no answer -->  held, a look still due
///     checking -- it is not         -->  lost        (for ever)
///
/// A change that is sent again looks by itself, in any state.
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

    /// Asks for leave to send a change again that failed.
    ///
    /// Waits for nobody: a look that others have begun may take as long as all its retries. Two looks at a time do no harm.
    ///
    /// - Parameter failedAt: When it failed; nil when it was answered, so that only the age of the last look counts.
    /// - Returns: `.granted`, `.lost`, or `.check`: read the token, then call ``endExtraLook(_:beganAt:)``.
    func askToRepeat(failedAt: Duration?, now: Duration) -> Permission {
        if case .lost(let record) = state { return .lost(to: record) }
        if let failedAt { return verifiedAt >= failedAt ? .granted : .check }
        return now - verifiedAt < Self.checkInterval ? .granted : .check
    }

    /// Ends the look that ``askToRepeat(failedAt:now:)`` asked for.
    ///
    /// - Returns: Whether it is the first to show that the volume is lost.
    mutating func endExtraLook(_ finding: Finding, beganAt: Duration) -> Bool {
        switch finding {
        case .ours: verifiedAt = max(verifiedAt, beganAt)
        case .unanswered: hasFailed = true
        case .foreign(let record):
            guard loss == nil else { return false }
            state = .lost(to: record)
            return true
        }
        return false
    }

    /// Notes that a request failed or stayed without an answer: we may have been away for longer than it seems.
    mutating func noteFailure() {
        hasFailed = true
        if case .checking(let beganAt, _) = state { state = .checking(beganAt: beganAt, hasFailedSince: true) }
    }

    /// Ends the look that ``Permission/check`` asked for.
    mutating func endCheck(_ finding: Finding) {
        // An extra look was faster.
        if case .lost = state { return }
        guard case .checking(let beganAt, let hasFailedSince) = state else { preconditionFailure("nobody is looking") }
        switch finding {
        case .ours:
            state = .held
            verifiedAt = max(verifiedAt, beganAt)
            hasFailed = hasFailedSince
        case .foreign(let record): state = .lost(to: record)
        case .unanswered:
            state = .held
            hasFailed = true
        }
    }
}
