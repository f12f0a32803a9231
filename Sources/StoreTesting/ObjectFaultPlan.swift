// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How often, and in which ways, a ``FaultyObjectStore`` misbehaves. Probabilities are per request, 0 ... 1.
public struct ObjectFaultPlan: Sendable {
    /// Every request takes a random time up to this, before and after it is done.
    public var latencyMax: Duration = .zero
    /// The connection is refused: nothing was sent.
    public var refused = 0.0
    /// 503 SlowDown with or without Retry-After: nothing was done.
    public var slowDown = 0.0
    /// 403 out of nowhere: nothing was done.
    public var forbidden = 0.0
    /// A 500: nothing was done, but the store does not say so (outcome unknown).
    public var serverError = 0.0
    /// The request is done, and its answer lost (outcome unknown for mutations).
    public var answerLost = 0.0
    /// The request never arrives, and the attempt times out after ``stall`` (outcome unknown for mutations).
    public var timeout = 0.0
    /// The mutation times out as above and arrives later; see ``lateMutationsMax`` and ``lateDelayMax``.
    public var lateArrival = 0.0
    /// How long an attempt takes to time out.
    public var stall: Duration = .seconds(30)
    /// A late mutation arrives right after the n-th later mutation of its key, n drawn from 1 ... this; so a later write that
    /// is looked at after it returned shows the damage. With 1 it only ever meets the repetition of itself.
    public var lateMutationsMax = 2
    /// A late mutation arrives at the latest this long after it timed out; nil: only after later mutations, or never.
    public var lateDelayMax: Duration?

    /// A plan without any fault.
    public init() {}

    /// A bad day: something of everything, about three requests in ten.
    public static var rough: ObjectFaultPlan {
        var plan = ObjectFaultPlan()
        plan.latencyMax = .milliseconds(50)
        plan.refused = 0.05
        plan.slowDown = 0.05
        plan.forbidden = 0.02
        plan.serverError = 0.05
        plan.answerLost = 0.05
        plan.timeout = 0.03
        plan.lateArrival = 0.03
        return plan
    }
}

/// What a ``FaultyObjectStore`` does with one request.
enum ObjectFault: CaseIterable, Hashable, Sendable {
    case none
    case refused
    case slowDown
    case forbidden
    case serverError
    case answerLost
    case timeout
    case lateArrival

    /// Draws the fate of a request; always the same number of draws, whatever the plan.
    static func draw(_ plan: ObjectFaultPlan, _ generator: inout SeededGenerator) -> ObjectFault {
        let shares: [(ObjectFault, Double)] = [
            (.refused, plan.refused), (.slowDown, plan.slowDown), (.forbidden, plan.forbidden),
            (.serverError, plan.serverError), (.answerLost, plan.answerLost), (.timeout, plan.timeout),
            (.lateArrival, plan.lateArrival),
        ]
        var rest = generator.fraction()
        for (fault, share) in shares {
            if rest < share { return fault }
            rest -= share
        }
        return .none
    }
}
