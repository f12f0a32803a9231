// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
internal import Synchronization

/// A clock that moves only when the test says so.
///
/// Sleepers wake in the order of their deadlines during ``advance(by:)``, on whatever executor they run.
public final class ManualTimeline: Timeline {
    private struct Sleeper {
        let identifier: Int
        let deadline: Duration
        let continuation: CheckedContinuation<Void, any Error>

        func wakesBefore(_ other: Sleeper) -> Bool {
            deadline == other.deadline ? identifier < other.identifier : deadline < other.deadline
        }
    }
    private struct State {
        var now: Duration
        var nextIdentifier = 0
        /// The next to wake is the last; of the same deadline, whoever came first.
        var sleepers: [Sleeper] = []
        var cancelled: Set<Int> = []
    }
    private let state: Mutex<State>
    private let epoch: Duration

    /// Makes a clock that stands still.
    ///
    /// - Parameter unixTime: What the calendar says at the beginning, in seconds since 1970.
    public init(unixTime: Duration = .seconds(1_800_000_000)) {
        state = Mutex(State(now: .zero))
        epoch = unixTime
    }

    /// The time since the beginning.
    public var now: Duration { state.withLock { $0.now } }

    /// The calendar: moves with `now`.
    public var unixTime: Duration { epoch + now }

    /// The earliest deadline somebody sleeps for; nil when nobody does.
    public var nextDeadline: Duration? { state.withLock { $0.sleepers.last?.deadline } }

    /// Moves the clock and wakes everybody whose deadline has come.
    public func advance(by duration: Duration) {
        let due = state.withLock { state in
            state.now += duration
            var due: [Sleeper] = []
            while let next = state.sleepers.last, next.deadline <= state.now {
                due.append(next)
                state.sleepers.removeLast()
            }
            return due
        }
        for sleeper in due { sleeper.continuation.resume() }
    }

    /// Waits for the test to move the clock past `deadline`; see ``Timeline/sleep(until:)``.
    public func sleep(until deadline: Duration) async throws(CancellationError) {
        let identifier = state.withLock { state in
            state.nextIdentifier += 1
            return state.nextIdentifier
        }
        // A cancellation that came after the waking left its mark, which nobody else would remove.
        defer { state.withLock { _ = $0.cancelled.remove(identifier) } }
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { continuation in
                    self.enter(Sleeper(identifier: identifier, deadline: deadline, continuation: continuation))
                }
            } onCancel: {
                self.cancel(identifier)
            }
        } catch {
            throw CancellationError()
        }
    }

    private func enter(_ sleeper: Sleeper) {
        enum Outcome { case sleeps, isDue, isCancelled }
        let outcome: Outcome = state.withLock { state in
            if state.cancelled.remove(sleeper.identifier) != nil { return .isCancelled }
            if sleeper.deadline <= state.now { return .isDue }
            var index = state.sleepers.count
            while index > 0, state.sleepers[index - 1].wakesBefore(sleeper) { index -= 1 }
            state.sleepers.insert(sleeper, at: index)
            return .sleeps
        }
        switch outcome {
        case .sleeps: break
        case .isDue: sleeper.continuation.resume()
        case .isCancelled: sleeper.continuation.resume(throwing: CancellationError())
        }
    }

    private func cancel(_ identifier: Int) {
        let sleeper: Sleeper? = state.withLock { state in
            guard let index = state.sleepers.firstIndex(where: { $0.identifier == identifier }) else {
                state.cancelled.insert(identifier)
                return nil
            }
            return state.sleepers.remove(at: index)
        }
        sleeper?.continuation.resume(throwing: CancellationError())
    }
}
