// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Volumes

@Suite("How the mount token is deleted")
struct MountTokenRemovalTests {
    private let store = ScriptedObjectStore()
    private let timeline = ManualTimeline()
    private let key = ObjectKey("vm/s3backer-mounted")
    private let ours = MountToken(rawValue: 7)
    private let theirs = MountToken(rawValue: 8)
    private let retrying: RetryingObjectStore
    private let object: MountTokenObject
    private let hold: MountTokenHold

    init() {
        retrying = RetryingObjectStore(
            over: store, policy: RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: .seconds(30)), isSigned: true,
            timeline: timeline, jitter: { 0 }, logger: quiet)
        let keys = BlockKeyScheme(prefix: "vm/", isHashed: false)
        object = MountTokenObject(in: store.objects, keys: keys, hostName: "vm", timeline: timeline)
        hold = MountTokenHold(
            of: MountTokenObject(in: retrying, keys: keys, hostName: "vm", timeline: timeline), volume: "the volume",
            window: window, timeline: timeline, logger: quiet)
        retrying.askBeforeRepeats(hold.repeatPermit)
    }

    private enum Removal: CaseIterable { case release, withdraw, reset }

    private func run(_ removal: Removal) throws {
        let (hold, ours) = (hold, ours)
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 10_000) {
            switch removal {
            case .release: try await hold.release(ours)
            case .withdraw: try await hold.withdraw(ours)
            case .reset: try await hold.reset()
            }
        }
    }

    /// Decides about the first DELETEs, one after the other; whatever follows is done.
    private func onDelete(_ fates: ScriptedObjectStore.Fate...) {
        let left = Mutex(fates)
        store.on { request in
            guard request.hasPrefix("DELETE") else { return .done }
            return left.withLock { $0.isEmpty ? .done : $0.removeFirst() }
        }
    }

    private var timeout: ScriptedObjectStore.Fate {
        .fails(ObjectStoreError(.timedOut, "operation timeout", outcomeIsUnknown: true))
    }
    private var deletes: Int { store.takeLog().count { $0.hasPrefix("DELETE") } }

    @Test("a DELETE whose answer is lost is not repeated: the token is seen to be gone", arguments: Removal.allCases)
    private func answerLost(removal: Removal) async throws {
        try await object.put(ours, .none)
        onDelete(.answerLost)
        try run(removal)
        #expect(deletes == 1)
        #expect(store.objects.keys == [])
        #expect(timeline.now == .milliseconds(200))
    }

    @Test("a DELETE without an answer is repeated when it can no longer arrive", arguments: Removal.allCases)
    private func timedOut(removal: Removal) async throws {
        try await object.put(ours, .none)
        onDelete(timeout, .fails(failure(.connectFailed)))
        try run(removal)
        #expect(deletes == 3)
        #expect(store.objects.keys == [])
        #expect(timeline.now == window + .milliseconds(400))
    }

    @Test("the token of a mount that came after a late DELETE stays", arguments: Removal.allCases)
    private func successor(removal: Removal) async throws {
        try await object.put(ours, .none)
        onDelete(timeout)
        let (timeline, store, object, key, theirs) = (timeline, store, object, key, theirs)
        let (hold, ours) = (hold, ours)
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 10_000) {
            async let end: Void = {
                switch removal {
                case .release: try await hold.release(ours)
                case .withdraw: try await hold.withdraw(ours)
                case .reset: try await hold.reset()
                }
            }()
            try await timeline.sleep(until: .seconds(20))
            _ = try await store.objects.delete([key], .background)
            try await object.put(theirs, .ifAbsent)
            try await end
        }
        #expect(deletes == 1)
        #expect(try await object.read(.foreground)?.token == theirs)
    }

    @Test("a DELETE that was given up is waited for, and may have been carried out after all")
    func givenUp() async throws {
        try await object.put(ours, .none)
        store.on { [timeout] in $0.hasPrefix("DELETE") ? timeout : .done }
        let error = #expect(throws: VolumeError.self) { try run(.release) }
        #expect(error?.message == "cannot clear the mount token of the volume: operation timeout (attempt #9)")
        #expect(timeline.now == window * 9)
        #expect(try await object.read(.foreground)?.token == ours)
        store.heal()
        try run(.release)
        #expect(store.objects.keys == [])
        #expect(timeline.now == window * 9)
    }

    @Test("a PUT without an answer is over before the token is given back", arguments: [true, false])
    func latePut(isForced: Bool) async throws {
        if isForced { try await object.put(theirs, .none) }
        let isFirst = Mutex(true)
        store.on { [timeout] request in
            guard request.hasPrefix("PUT"), isFirst.withLock({ $0 }) else { return .done }
            isFirst.withLock { $0 = false }
            return timeout
        }
        let (hold, ours) = (hold, ours)
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 10_000) {
            _ = try await hold.acquire(ours, isForced: isForced, nil)
        }
        let acquiredAt = timeline.now
        #expect(acquiredAt == .milliseconds(200))
        try run(.release)
        #expect(timeline.now == acquiredAt + window)
        #expect(store.objects.keys == [])
    }
}
