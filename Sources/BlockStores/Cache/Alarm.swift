// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Synchronization

/// Rings a doorbell at a time that may be moved to earlier, but is never moved to later: ringing too early costs one look.
///
/// So a cache that writes back thousands of blocks a second makes a timer a few times a second, and not for each of them.
///
/// - Concurrency: ``set(_:)`` is safe from anywhere; one task runs ``run(ringing:_:)``.
final class Alarm: Sendable {
    private let time = Mutex<Duration?>(nil)
    private let change = Doorbell()

    /// Rings at `deadline` or before.
    func set(_ deadline: Duration) {
        let isEarlier = time.withLock { time in
            if let set = time, set <= deadline { return false }
            time = deadline
            return true
        }
        if isEarlier { change.ring() }
    }

    /// Rings `doorbell` whenever it is time, until the task is cancelled.
    func run(ringing doorbell: Doorbell, _ timeline: any Timeline) async {
        while !Task.isCancelled {
            guard let deadline = time.withLock({ $0 }) else {
                await change.wait()
                continue
            }
            await sleep(until: deadline, timeline)
            guard timeline.now >= deadline else { continue }
            time.withLock { time in
                if time == deadline { time = nil }
            }
            doorbell.ring()
        }
    }

    /// Returns at `deadline`, when an earlier one was set, or when the task is cancelled.
    private func sleep(until deadline: Duration, _ timeline: any Timeline) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.change.wait() }
            group.addTask {
                do {
                    try await timeline.sleep(until: deadline)
                } catch {
                    // Cancelled, since an earlier time was set.
                }
            }
            await group.next()
            group.cancelAll()
        }
    }
}
