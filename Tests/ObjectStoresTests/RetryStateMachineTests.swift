// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import ObjectStores

@Suite("RetryStateMachine")
struct RetryStateMachineTests {
    private let policy = RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: .seconds(30))

    private func error(
        _ code: ObjectStoreError.Code, isUnknown: Bool = false, retryAfter: Duration? = nil
    ) -> ObjectStoreError {
        ObjectStoreError(code, "failed", outcomeIsUnknown: isUnknown, retryAfter: retryAfter)
    }

    private func circumstances(
        hasSucceeded: Bool = true, isSigned: Bool = true, jitter: Double = 0
    ) -> RetryStateMachine.Circumstances {
        RetryStateMachine.Circumstances(hasSucceeded: hasSucceeded, isSigned: isSigned, jitter: jitter)
    }

    /// The pauses, in milliseconds, until the machine gives up.
    private func pauses(
        _ policy: RetryPolicy, retryAfter: Duration? = nil, jitter: () -> Double = { 0 }
    ) -> [Int64] {
        var machine = RetryStateMachine(policy: policy)
        var pauses: [Int64] = []
        while case .retry(let pause) = machine.failed(
            error(.serverError, retryAfter: retryAfter), circumstances(jitter: jitter()))
        {
            pauses.append(pause.components.seconds * 1000 + pause.components.attoseconds / 1_000_000_000_000_000)
        }
        #expect(machine.attempt == pauses.count + 1)
        return pauses
    }

    @Test("the default pauses are those of the C program, 30 s in all, nine attempts")
    func hasExactPauses() {
        #expect(pauses(policy) == [200, 400, 800, 1600, 3200, 6400, 12800, 4600])
    }

    @Test(
        "other figures double and are clipped likewise",
        arguments: [
            (200, 3000, [200, 400, 800, 1600]), (200, 0, []), (500, 500, [500]), (1000, 500, [500]), (100, 301, [100, 200, 1]),
        ] as [(Int, Int, [Int64])])
    func clips(initial: Int, total: Int, expected: [Int64]) {
        let policy = RetryPolicy(initialPause: .milliseconds(initial), totalPauseMax: .milliseconds(total))
        #expect(pauses(policy) == expected)
    }

    @Test("a first pause of zero ends too")
    func endsWithoutPause() {
        let sum = pauses(RetryPolicy(initialPause: .zero, totalPauseMax: .milliseconds(100))).reduce(0, +)
        #expect(sum == 100)
    }

    @Test("jitter keeps the number of attempts and the bound, and spreads every pause")
    func jitters() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<200 {
            let jittered = pauses(policy) { generator.fraction() }
            #expect(jittered.count == 8)
            #expect(jittered.reduce(0, +) <= 30_000)
            #expect(jittered.reduce(0, +) >= 27_000)
            #expect((100...200).contains(jittered[0]))
        }
    }

    @Test("Retry-After lengthens the pauses and is bounded by what is left")
    func honoursRetryAfter() {
        let patient = pauses(policy, retryAfter: .seconds(1))
        #expect(patient.prefix(3) == [1000, 1000, 1000])
        #expect(patient.reduce(0, +) == 30_000)
        #expect(pauses(policy, retryAfter: .seconds(3600)) == [30_000])
        #expect(pauses(policy, retryAfter: .milliseconds(1)) == pauses(policy))
    }

    @Test("which failures are retried, before and after the first success", arguments: ObjectStoreError.Code.allCases)
    func decides(_ code: ObjectStoreError.Code) {
        let never: Set<ObjectStoreError.Code> = [.preconditionFailed, .cancelled, .noSpace, .fenced]
        let later: Set<ObjectStoreError.Code> = [
            .badRequest, .unauthorized, .forbidden, .notImplemented, .clockSkewed, .noSuchBucket, .redirected,
            .notS3,
        ]
        func isRetried(hasSucceeded: Bool, isSigned: Bool) -> Bool {
            var machine = RetryStateMachine(policy: policy)
            let circumstances = circumstances(hasSucceeded: hasSucceeded, isSigned: isSigned)
            return machine.failed(error(code), circumstances) != .failAtOnce
        }
        #expect(isRetried(hasSucceeded: true, isSigned: true) == !never.contains(code))
        #expect(isRetried(hasSucceeded: false, isSigned: true) == !never.union(later).contains(code))
        #expect(isRetried(hasSucceeded: true, isSigned: false) == !never.union([.forbidden]).contains(code))
        #expect(isRetried(hasSucceeded: false, isSigned: false) == !never.union(later).contains(code))
    }

    @Test("an attempt without an answer is remembered to the end")
    func remembersUnknownOutcome() {
        var machine = RetryStateMachine(policy: policy)
        _ = machine.failed(error(.serverError), circumstances())
        #expect(!machine.hasUnansweredAttempt)
        _ = machine.failed(error(.timedOut, isUnknown: true), circumstances())
        _ = machine.failed(error(.serverError), circumstances())
        #expect(machine.hasUnansweredAttempt)
    }
}
