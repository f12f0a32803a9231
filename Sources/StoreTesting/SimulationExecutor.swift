// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// Runs a whole asynchronous stack on the calling thread, in an order that a seed decides.
///
/// Every suspension of the stack hands in a job; among the jobs that are ready, the seed picks the next one. When none is ready,
/// the clock jumps to the next deadline. So a run of minutes takes milliseconds, and a seed that fails fails again.
///
/// What must hold for that: tasks are children of the one given to ``run(on:stepsMax:_:)`` (`async let`, task groups: they
/// inherit the executor; a bare `Task {}` does not), time comes from the ``ManualTimeline``, and no thread of its own hands in
/// results. Order taken from a `Dictionary` or `Set` differs from process to process (`SWIFT_DETERMINISTIC_HASHING=1` stops
/// that).
public final class SimulationExecutor: TaskExecutor {
    private struct State {
        var ready: [UnownedJob] = []
        var generator: SeededGenerator
    }
    private let state: Mutex<State>

    /// Makes an executor whose choices follow from `seed`.
    public init(seed: UInt64) { state = Mutex(State(generator: SeededGenerator(seed: seed))) }

    /// Takes a job that is ready; called by the runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.ready.append(job) }
    }

    /// Runs `body` and all its children to the end.
    ///
    /// - Parameters:
    ///   - timeline: The clock of the stack under test; moved on whenever nothing else can be done.
    ///   - stepsMax: How many jobs may run; a stack that never comes to an end is stopped here.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws; ``SimulationFailure`` when the work cannot go on or does not end.
    public func run<Result: Sendable>(
        on timeline: ManualTimeline, stepsMax: Int, _ body: @escaping @Sendable () async throws -> Result
    ) throws -> Result {
        let outcome = Outcome<Result>()
        let task = Task(executorPreference: self) {
            do {
                outcome.set(.success(try await body()))
            } catch {
                outcome.set(.failure(error))
            }
        }
        var steps = 0
        while true {
            if let result = outcome.value { return try result.get() }
            if runOne() {
                steps += 1
                guard steps <= stepsMax else {
                    task.cancel()
                    throw SimulationFailure(reason: "the work has not ended after \(stepsMax) steps")
                }
            } else if let deadline = timeline.nextDeadline {
                timeline.advance(by: max(deadline - timeline.now, .zero))
            } else {
                task.cancel()
                throw SimulationFailure(reason: "everything waits, and nothing can wake it: a deadlock")
            }
        }
    }

    /// Runs one ready job; false when there is none.
    private func runOne() -> Bool {
        let job: UnownedJob? = state.withLock { state in
            guard !state.ready.isEmpty else { return nil }
            let index = Int.random(in: 0..<state.ready.count, using: &state.generator)
            state.ready.swapAt(index, state.ready.count - 1)
            return state.ready.popLast()
        }
        guard let job else { return false }
        job.runSynchronously(on: asUnownedTaskExecutor())
        return true
    }
}

/// A simulated run that could not be brought to its end.
public struct SimulationFailure: Error, CustomStringConvertible {
    /// What went wrong.
    public let reason: String

    /// The reason.
    public var description: String { reason }
}

/// Where the root task leaves its result for the thread that drives it.
private final class Outcome<Success: Sendable>: Sendable {
    private let result = Mutex<Result<Success, any Error>?>(nil)

    var value: Result<Success, any Error>? { result.withLock { $0 } }

    func set(_ value: Result<Success, any Error>) { result.withLock { $0 = value } }
}
