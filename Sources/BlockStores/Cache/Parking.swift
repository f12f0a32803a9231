// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Callers that wait, each under a number; a pure value, kept under its owner's lock.
///
/// A caller is expected first, under the same lock that decided that it has to wait, and parks afterwards. So an answer that comes
/// in between is kept for it, and none is lost.
struct Parking<Answer: Sendable>: Sendable {
    private enum Place: Sendable {
        case expected
        case parked(CheckedContinuation<Answer, Never>)
        case answered(Answer)
    }
    private var places: [UInt64: Place] = [:]

    /// A caller that has its answer and goes on once the lock is released.
    struct Wakeup: Sendable {
        fileprivate let continuation: CheckedContinuation<Answer, Never>
        fileprivate let answer: Answer

        /// Lets the caller go on.
        func callAsFunction() { continuation.resume(returning: answer) }
    }

    /// Whether nobody waits.
    var isEmpty: Bool { places.isEmpty }

    /// The caller `number` is going to park.
    mutating func expect(_ number: UInt64) { places[number] = .expected }

    /// The caller parks.
    ///
    /// - Returns: Its answer, if that is here already.
    mutating func park(_ number: UInt64, _ continuation: CheckedContinuation<Answer, Never>) -> Wakeup? {
        guard case .answered(let answer)? = places[number] else {
            precondition(places[number] != nil, "a caller is expected before it parks")
            places[number] = .parked(continuation)
            return nil
        }
        places[number] = nil
        return Wakeup(continuation: continuation, answer: answer)
    }

    /// Whether the caller `number` has no answer yet.
    func waits(_ number: UInt64) -> Bool {
        switch places[number] {
        case .expected, .parked: true
        case .answered, nil: false
        }
    }

    /// The caller's answer; without effect if it has one, or does not wait.
    mutating func answer(_ number: UInt64, _ answer: Answer) -> Wakeup? {
        switch places[number] {
        case .expected:
            places[number] = .answered(answer)
            return nil
        case .parked(let continuation):
            places[number] = nil
            return Wakeup(continuation: continuation, answer: answer)
        case .answered, nil:
            return nil
        }
    }
}
