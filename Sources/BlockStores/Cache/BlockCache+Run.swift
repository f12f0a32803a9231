// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Logging

/// The tasks of the cache.
extension BlockCache {
    /// Fetches and writes back until the task is cancelled; to be run once, from before the first request until after ``drain()``.
    ///
    /// A cancelled run leaves dirty what is dirty; what was being sent is indeterminate.
    public func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.alarm.run(ringing: self.doorbell, self.timeline) }
            while !Task.isCancelled {
                let (job, deadline, late, releases) = state.withLock { state in
                    let now = timeline.now
                    let releases = state.machine.expire(now: now)
                    let late = state.machine.expireFlushes(now: now).compactMap { state.flushers.answer($0, .timedOut) }
                    let job = state.machine.takeJob(now: now)
                    return (job, job == nil ? state.machine.nextDeadline(now: now) : nil, late, releases)
                }
                for wakeup in late { wakeup() }
                // It may take an fdatasync(2), for which nothing else shall wait.
                if !releases.isEmpty { group.addTask { self.finish(releasing: releases) } }
                if let job {
                    group.addTask { await self.perform(job) }
                } else {
                    if let deadline { alarm.set(deadline) }
                    await doorbell.wait()
                }
            }
        }
    }

    private func perform(_ job: CacheStateMachine.Job) async {
        switch job {
        case .fetch(let block):
            _ = await fetch(block)
        case .upload(let block):
            await upload(block)
        case .zero(let number, let blocks):
            await zeroInStore(number, blocks)
        case .commit(let number):
            do throws(BlockStoreError) {
                try await commitStorage(number)
            } catch {
                logger.error("cannot commit the cache file", metadata: ["cause": "\(error)"])
            }
        }
        doorbell.ring()
    }
}
