// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Volumes

@Suite("The mount token")
struct MountTokenTests {
    private let keys = BlockKeyScheme(prefix: "vm/", isHashed: true)
    private let store = ScriptedObjectStore()
    private let timeline = ManualTimeline(unixTime: .seconds(1_795_245_839))
    private let key = ObjectKey("vm/s3backer-mounted")
    private let ours = MountToken(rawValue: 0x4f2a_8f9c)
    private let theirs = MountToken(rawValue: 0x0000_00ab)

    private var object: MountTokenObject {
        MountTokenObject(in: store, keys: keys, hostName: "vm", timeline: timeline)
    }
    private var hold: MountTokenHold {
        MountTokenHold(of: object, volume: "bucket \"b/vm\"", window: window, timeline: timeline, logger: quiet)
    }

    @Test("the object is the one of the C program: name, type, header, body")
    func format() async throws {
        try await hold.acquire(ours, isForced: false, nil)
        guard
            case .object(let object) = try await store.objects.get(
                key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        else { throw FixtureError() }
        #expect(object.attributes.metadata.contentType == "text/plain")
        #expect(object.attributes.metadata.user == ["s3backer-mount-token": "4f2a8f9c"])
        #expect(String(decoding: object.body.bytes, as: UTF8.self) == "vm\n20261121T072359Z\n")
    }

    @Test(
        "the header is read as the C program reads it",
        arguments: [
            ("4f2a8f9c", 0x4f2a_8f9c), ("0000000a", 10), ("00000000", 1), ("", 1), ("xyz", 1), ("7fffffff", 0x7fff_ffff),
            (nil, 1),
        ] as [(String?, UInt32)])
    func header(text: String?, expected: UInt32) async throws {
        let metadata = ObjectMetadata(user: text.map { ["s3backer-mount-token": $0] } ?? [:])
        _ = try await store.objects.put(key, BufferSlice(Buffer(copying: [])), metadata, .none, .foreground)
        #expect(try await object.read(.foreground)?.token.rawValue == expected)
    }

    @Test("no object is no token")
    func none() async throws {
        #expect(try await object.read(.foreground) == nil)
    }

    @Test("a new token is never one with a meaning of its own")
    func range() {
        for seed in UInt64(0)..<1000 {
            var generator = SeededGenerator(seed: seed)
            #expect((1...0x7fff_fffe).contains(MountToken(using: &generator).rawValue))
        }
    }

    @Test("what a start that was broken off has written is taken back, and nobody else's token")
    func withdrawal() async throws {
        try await hold.withdraw(ours)
        try await object.put(theirs, .none)
        try await hold.withdraw(ours)
        #expect(try await object.read(.foreground)?.token == theirs)
        try await hold.withdraw(theirs)
        #expect(try await object.read(.foreground) == nil)
    }

    @Test("a mounted volume is refused, the store left as it was, and the message names token, host and time")
    func conflict() async throws {
        try await object.put(theirs, .none)
        let error = await #expect(throws: VolumeError.self) { try await hold.acquire(ours, isForced: false, nil) }
        #expect(error?.code == .alreadyMounted)
        #expect(
            error?.message
                == "cannot mount bucket \"b/vm\": it appears to be already mounted (token 0x000000ab, host \"vm\", "
                + "since 20261121T072359Z); if that process is gone, use --reset-mounted-flag, or --force to override")
        #expect(try await object.read(.foreground)?.token == theirs)
        let onLook = await #expect(throws: VolumeError.self) { try await hold.look(isForced: false, nil) }
        #expect(onLook?.code == .alreadyMounted)
    }

    @Test("a volume in shared disk mode is refused, and the message says so")
    func shared() async throws {
        try await object.put(.sharedDisk, .none)
        let error = await #expect(throws: VolumeError.self) { try await hold.acquire(ours, isForced: false, nil) }
        #expect(error?.message.contains("shared disk mode") == true)
    }

    @Test("--force takes a token over; a read-only mount passes it by")
    func forced() async throws {
        try await object.put(theirs, .none)
        try await hold.look(isForced: true, nil)
        #expect(try await object.read(.foreground)?.token == theirs)
        try await hold.acquire(ours, isForced: true, nil)
        #expect(try await object.read(.foreground)?.token == ours)
    }

    @Test("a token is given back if it is still ours, and else left alone")
    func release() async throws {
        try await hold.acquire(ours, isForced: false, nil)
        try await hold.release(ours)
        #expect(store.objects.keys == [])
        try await hold.release(ours)
        try await object.put(theirs, .none)
        try await hold.release(ours)
        #expect(try await object.read(.foreground)?.token == theirs)
        try await hold.reset()
        #expect(store.objects.keys == [])
    }

    @Test("a store that keeps conditions is asked twice and waited for never")
    func atomic() async throws {
        try await hold.acquire(ours, isForced: false, nil)
        #expect(store.takeLog() == ["GET \(key)", "PUT \(key)", "PUT \(key)", "GET \(key)"])
        #expect(timeline.now == .zero)
    }

    @Test("our own conditional PUT, refused after an attempt without an answer, is a success")
    func ownRefusal() async throws {
        let isFirst = Mutex(true)
        let object = self.object
        let ours = self.ours
        store.on { request in
            // The first attempt was done, and its answer lost; what the layer below repeats then meets our own object.
            if request.hasPrefix("PUT"), isFirst.withLock({ $0 }) {
                isFirst.withLock { $0 = false }
                do { try await object.put(ours, .none) } catch { Issue.record(error) }
            }
            return .done
        }
        try await hold.acquire(ours, isForced: false, nil)
        #expect(try await object.read(.foreground)?.token == ours)
        #expect(timeline.now == .zero)
    }

    @Test("of two mounts that start together exactly one succeeds", arguments: UInt64(0)..<50)
    func race(seed: UInt64) throws {
        let successes = try raceOfTwo(seed: seed) { _ in
            await Task.yield()
            return .done
        }
        #expect(successes == 1)
    }

    @Test("where the store ignores conditions, too, as long as the PUTs are not a second apart", arguments: UInt64(0)..<50)
    func raceWithoutConditions(seed: UInt64) throws {
        let timeline = self.timeline
        let generator = Mutex(SeededGenerator(seed: seed))
        let successes = try raceOfTwo(seed: seed) { request in
            let wait = generator.withLock { $0.duration(upTo: .milliseconds(200)) }
            do { try await timeline.sleep(until: timeline.now + wait) } catch { Issue.record(error) }
            return request.hasPrefix("PUT") ? .unconditional : .done
        }
        #expect(successes <= 1)
    }

    @Test(
        "a store that has no conditions at all is mounted the plain way",
        arguments: [ObjectStoreError.Code.notImplemented, .badRequest])
    func unsupported(code: ObjectStoreError.Code) async throws {
        let isFirst = Mutex(true)
        store.on { request in
            guard request.hasPrefix("PUT"), isFirst.withLock({ $0 }) else { return .done }
            isFirst.withLock { $0 = false }
            return .fails(failure(code))
        }
        let hold = self.hold
        let ours = self.ours
        try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 1000) {
            _ = try await hold.acquire(ours, isForced: false, nil)
        }
        #expect(timeline.now >= MountTokenHold.plainWait)
        #expect(try await object.read(.foreground)?.token == ours)
    }

    @Test("a failing store is named in the error")
    func storeFails() async throws {
        store.on { _ in .fails(failure(.noSuchBucket)) }
        let error = await #expect(throws: VolumeError.self) { try await hold.acquire(ours, isForced: false, nil) }
        #expect(error?.code == .store)
        #expect(error?.message == "cannot read the mount token of bucket \"b/vm\": the store says noSuchBucket")
    }

    private func raceOfTwo(
        seed: UInt64, _ script: @escaping @Sendable (String) async -> ScriptedObjectStore.Fate
    ) throws -> Int {
        store.on(script)
        let hold = self.hold
        let tokens = [ours, theirs]
        return try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 10_000) {
            await withTaskGroup(of: Bool.self) { group in
                for token in tokens {
                    group.addTask {
                        do {
                            try await hold.acquire(token, isForced: false, nil)
                            return true
                        } catch {
                            return false
                        }
                    }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
        }
    }
}
