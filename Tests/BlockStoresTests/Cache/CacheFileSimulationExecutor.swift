// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Dispatch
import Foundation
import StoreTesting
import Synchronization

/// Runs a stack in an order that a seed decides, as ``SimulationExecutor`` does, and lets a job stop within a synchronous call too.
///
/// One thread at a time has the *turn*. It takes ready jobs and runs them, until one comes to ``pause()``: then the thread may be
/// put aside in the middle of its job, as a thread is that waits for a disk, and another one takes the turn. Whoever has the turn
/// picks at random among the jobs that are ready and the threads that were put aside. So a write can stand between its bytes and
/// its record while others write, trim and flush.
///
/// No lock may be held at a pause that another job could want: the turn would never come back.
final class CacheFileSimulationExecutor: TaskExecutor {
    private struct State {
        var generator: SeededGenerator
        var ready: [UnownedJob] = []
        /// Threads in the middle of a job, and the step before which each stays there if something else can be done.
        var aside: [(thread: DispatchSemaphore, until: Int)] = []
        /// Threads that have nothing to do.
        var spare: [DispatchSemaphore] = []
        var steps = 0
        var isOver = false
        var failure: SimulationViolation?
    }
    private enum Turn {
        case job(UnownedJob)
        case thread(DispatchSemaphore)
        case clock(Duration)
        case over
    }
    private let state: Mutex<State>
    private let timeline: ManualTimeline
    private let stepsMax: Int
    /// Called before each step, with its number, and nothing else runs.
    private let onStep: @Sendable (Int) -> Void
    private let asideMax = 5

    init(seed: UInt64, timeline: ManualTimeline, stepsMax: Int, onStep: @escaping @Sendable (Int) -> Void) {
        state = Mutex(State(generator: SeededGenerator(seed: seed)))
        self.timeline = timeline
        self.stepsMax = stepsMax
        self.onStep = onStep
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.ready.append(job) }
    }

    /// Runs `body` and its children to the end; `onStart` is given what cancels them.
    func run(
        onStart: (@escaping @Sendable () -> Void) -> Void, _ body: @escaping @Sendable () async throws -> Void
    ) throws {
        let outcome = Mutex<Result<Void, any Error>?>(nil)
        let task = Task(executorPreference: self) {
            let result: Result<Void, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            self.state.withLock { $0.isOver = true }
            outcome.withLock { $0 = result }
        }
        onStart { task.cancel() }
        takeTurns(DispatchSemaphore(value: 0))
        if let failure = state.withLock({ $0.failure }) {
            task.cancel()
            throw failure
        }
        try outcome.withLock { $0 }?.get()
    }

    /// A moment at which the thread may be put aside: mostly for a short time, sometimes for a long one.
    func pause() {
        let stay: Int? = state.withLock { state in
            guard state.aside.count < asideMax, !state.ready.isEmpty || !state.aside.isEmpty else { return nil }
            switch state.generator.next() % 100 {
            case 0..<4: return Int.random(in: 10...200, using: &state.generator)
            case 4..<25: return 0
            default: return nil
            }
        }
        if let stay { putAside(for: stay) }
    }

    /// Puts the thread aside until `condition` is true; others bring that about.
    func wait(until condition: () -> Bool) {
        while !condition() { putAside(for: 0) }
    }

    private func putAside(for stay: Int) {
        let own = DispatchSemaphore(value: 0)
        let spare: DispatchSemaphore? = state.withLock { state in
            state.aside.append((own, state.steps + stay))
            return state.spare.popLast()
        }
        if let spare {
            spare.signal()
        } else {
            let thread = Thread { self.takeTurns(DispatchSemaphore(value: 0)) }
            thread.stackSize = 1 << 20
            thread.start()
        }
        own.wait()
    }

    /// What a thread does that has the turn, until all is over.
    private func takeTurns(_ own: DispatchSemaphore) {
        while true {
            // Threads that are woken because all is over take no step: the next life may have begun.
            let step: Int? = state.withLock { state in
                guard !state.isOver else { return nil }
                state.steps += 1
                return state.steps
            }
            if let step { onStep(step) }
            switch next() {
            case .job(let job): job.runSynchronously(on: asUnownedTaskExecutor())
            case .clock(let duration): timeline.advance(by: duration)
            case .thread(let other):
                state.withLock { $0.spare.append(own) }
                other.signal()
                own.wait()
            case .over:
                let spare = state.withLock { state in
                    defer { state.spare = [] }
                    return state.spare
                }
                for thread in spare { thread.signal() }
                return
            }
        }
    }

    private func next() -> Turn {
        state.withLock { state in
            if state.isOver || state.failure != nil { return .over }
            if state.steps > stepsMax {
                state.failure = SimulationViolation(description: "the work has not ended after \(stepsMax) steps")
                return .over
            }
            var threads = state.aside.indices.filter { state.aside[$0].until <= state.steps }
            if threads.isEmpty, state.ready.isEmpty { threads = Array(state.aside.indices) }
            let count = state.ready.count + threads.count
            guard count > 0 else {
                if let deadline = timeline.nextDeadline { return .clock(max(deadline - timeline.now, .zero)) }
                state.failure = SimulationViolation(description: "everything waits, and nothing can wake it: a deadlock")
                return .over
            }
            let index = Int.random(in: 0..<count, using: &state.generator)
            if index >= state.ready.count { return .thread(state.aside.remove(at: threads[index - state.ready.count]).thread) }
            state.ready.swapAt(index, state.ready.count - 1)
            return .job(state.ready.removeLast())
        }
    }
}
