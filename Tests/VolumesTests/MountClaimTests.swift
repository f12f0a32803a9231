// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Volumes

@Suite("The mount token of an earlier run on this machine")
struct MountClaimTests {
    private let store = ScriptedObjectStore()
    private let timeline = ManualTimeline(unixTime: .seconds(1_795_245_839))
    private let fresh = MountToken(rawValue: 0x4f2a_8f9c)
    private let old = MountToken(rawValue: 0x0000_00ab)
    private let foreign = MountToken(rawValue: 0x0000_00cd)
    private let recorded = Recorded()

    /// What a cache file would have recorded, with the requests that the store had got by then.
    private final class Recorded: Sendable {
        let tokens = Mutex<[(MountToken, requests: [String])]>([])
        let fails = Mutex(false)
    }

    private var object: MountTokenObject {
        let keys = BlockKeyScheme(prefix: "vm/", isHashed: true)
        return MountTokenObject(in: store, keys: keys, hostName: "vm", timeline: timeline)
    }
    private var hold: MountTokenHold {
        MountTokenHold(of: object, volume: "bucket \"b/vm\"", window: window, timeline: timeline, logger: quiet)
    }

    private func claim(_ token: MountToken?, unsaved: Int, _ decision: MountClaim.Decision = .undecided, isDoubtful: Bool = false)
        -> MountClaim
    {
        MountClaim(
            place: "cache file \"/c\"", token: token, unsavedBlockCount: unsaved, isDoubtful: isDoubtful, decision: decision
        ) { [recorded, store] token throws(VolumeError) in
            guard !recorded.fails.withLock({ $0 }) else { throw VolumeError(.cacheFile, "the disk is full") }
            recorded.tokens.withLock { $0.append((token, store.takeLog().filter { $0.hasPrefix("PUT") })) }
        }
    }

    @Test(
        "a token left by our own crash is taken over as it is: nothing is written, and --force is not needed",
        arguments: [0, 12], [false, true])
    func ownCrash(unsaved: Int, isForced: Bool) async throws {
        try await object.put(old, .none)
        _ = store.takeLog()
        let held = try await hold.acquire(fresh, isForced: isForced, claim(old, unsaved: unsaved))
        #expect(held == old)
        #expect(try await object.read(.foreground)?.token == old)
        #expect(!store.takeLog().contains { $0.hasPrefix("PUT") })
        #expect(recorded.tokens.withLock { $0.isEmpty })
    }

    @Test(
        "unsaved data whose token is not in the store refuses the mount, --force or not, and names both ways out",
        arguments: [false, true], [false, true])
    func mismatch(isForced: Bool, isForeign: Bool) async throws {
        if isForeign { try await object.put(foreign, .none) }
        let error = await #expect(throws: VolumeError.self) {
            try await hold.acquire(fresh, isForced: isForced, claim(old, unsaved: 12))
        }
        let found =
            isForeign
            ? "the volume has token 0x000000cd, host \"vm\", since 20261121T072359Z" : "the volume has no mount token any more"
        #expect(error?.code == .unsavedData)
        #expect(
            error?.message
                == "cannot mount bucket \"b/vm\": cache file \"/c\" holds 12 blocks that the store does not have, written under "
                + "token 0x000000ab, but \(found), so others may have written since; use --recoverDirty=apply to write them over "
                + "that, or --recoverDirty=discard to set the file aside")
        #expect(try await object.read(.foreground)?.token == (isForeign ? foreign : nil))
        #expect(recorded.tokens.withLock { $0.isEmpty })
    }

    @Test("after the local disk has failed, unsaved data is not written unasked, though the token is our own")
    func doubtful() async throws {
        try await object.put(old, .none)
        let error = await #expect(throws: VolumeError.self) {
            try await hold.acquire(fresh, isForced: true, claim(old, unsaved: 3, isDoubtful: true))
        }
        #expect(error?.code == .unsavedData && error?.message.contains("the local disk has failed since") == true)
        #expect(try await hold.acquire(fresh, isForced: false, claim(old, unsaved: 3, .apply, isDoubtful: true)) == old)
        #expect(try await hold.acquire(fresh, isForced: false, claim(old, unsaved: 0, isDoubtful: true)) == old)
    }

    @Test("one block is not called blocks")
    func oneBlock() async throws {
        let error = await #expect(throws: VolumeError.self) {
            try await hold.acquire(fresh, isForced: false, claim(nil, unsaved: 1))
        }
        #expect(error?.message.contains("holds 1 block that the store does not have, written under no token, but") == true)
    }

    @Test("--recoverDirty=apply mounts with a new token, which the file has before the store gets it")
    func applied() async throws {
        let held = try await hold.acquire(fresh, isForced: false, claim(old, unsaved: 12, .apply))
        #expect(held == fresh)
        #expect(try await object.read(.foreground)?.token == fresh)
        let recorded = recorded.tokens.withLock { $0.map { ($0.0, $0.requests.count) } }
        #expect(recorded.count == 1 && recorded[0].0 == fresh && recorded[0].1 == 0)
    }

    @Test("it does not override another mount; that takes --force as well")
    func appliedToForeign() async throws {
        try await object.put(foreign, .none)
        _ = store.takeLog()
        let error = await #expect(throws: VolumeError.self) {
            try await hold.acquire(fresh, isForced: false, claim(old, unsaved: 12, .apply))
        }
        #expect(error?.code == .alreadyMounted)
        #expect(recorded.tokens.withLock { $0.isEmpty })
        let held = try await hold.acquire(fresh, isForced: true, claim(old, unsaved: 12, .apply))
        #expect(held == fresh)
        #expect(try await object.read(.foreground)?.token == fresh)
        #expect(recorded.tokens.withLock { $0.count == 1 && $0[0].requests.isEmpty })
    }

    @Test(
        "--recoverDirty=discard sets the data aside when the mount token is taken, or taken over, and not when the mount is refused",
        arguments: [nil, 0xab, 0xcd] as [UInt32?])
    func discarded(inStore: UInt32?) async throws {
        if let inStore { try await object.put(MountToken(rawValue: inStore), .none) }
        let claim = claim(old, unsaved: 12, .discard)
        guard inStore != foreign.rawValue else {
            let error = await #expect(throws: VolumeError.self) { try await hold.acquire(fresh, isForced: false, claim) }
            #expect(error?.code == .alreadyMounted)
            #expect(recorded.tokens.withLock { $0.isEmpty })
            return
        }
        let held = try await hold.acquire(fresh, isForced: false, claim)
        #expect(held == (inStore == nil ? fresh : old))
        #expect(recorded.tokens.withLock { $0.map(\.0) } == [held])
    }

    @Test("a file without unsaved data changes no rule, and gets the new token first", arguments: [nil, 0xab] as [UInt32?])
    func clean(token: UInt32?) async throws {
        let claim = claim(token.map { MountToken(rawValue: $0) }, unsaved: 0)
        #expect(try await hold.acquire(fresh, isForced: false, claim) == fresh)
        #expect(recorded.tokens.withLock { $0.count == 1 && $0[0].requests.isEmpty })
        try await object.put(foreign, .none)
        let error = await #expect(throws: VolumeError.self) { try await hold.acquire(fresh, isForced: false, claim) }
        #expect(error?.code == .alreadyMounted)
    }

    @Test("a token that cannot be recorded is not written to the store")
    func notRecorded() async throws {
        recorded.fails.withLock { $0 = true }
        let error = await #expect(throws: VolumeError.self) {
            try await hold.acquire(fresh, isForced: false, claim(nil, unsaved: 0))
        }
        #expect(error?.code == .cacheFile)
        #expect(try await object.read(.foreground) == nil)
    }

    @Test("numbers with a meaning of their own are nobody's crash", arguments: [1, 0x7fff_ffff] as [UInt32])
    func meanings(number: UInt32) async throws {
        let token = MountToken(rawValue: number)
        try await object.put(token, .none)
        let error = await #expect(throws: VolumeError.self) {
            try await hold.acquire(fresh, isForced: false, claim(token, unsaved: 0))
        }
        #expect(error?.code == .alreadyMounted)
        #expect(MountToken(recorded: 0) == nil && MountToken(recorded: 7)?.rawValue == 7)
    }

    @Test("a crash between any two steps leaves what the next start handles by itself", arguments: 0...3)
    func crashes(step: Int) async throws {
        // What file and store hold after a crash during a start (steps 0 to 2: nothing, recorded, in the store) and during the
        // end (step 3: the token is returned, the file not closed yet).
        let inFile = step == 0 ? old : fresh
        if step == 2 { try await object.put(fresh, .none) }
        let next = MountToken(rawValue: 0x1234)
        let held = try await hold.acquire(next, isForced: false, claim(inFile, unsaved: 0))
        #expect(held == (step == 2 ? fresh : next))
        #expect(try await object.read(.foreground)?.token == held)
    }

    @Test("a read-only mount is refused while there is unsaved data, and passes its own token by")
    func readOnly() async throws {
        try await object.put(old, .none)
        let error = await #expect(throws: VolumeError.self) { try await hold.look(isForced: true, claim(old, unsaved: 3)) }
        #expect(error?.code == .unsavedData)
        #expect(
            error?.message
                == "cannot mount bucket \"b/vm\" read-only: cache file \"/c\" holds 3 blocks that the store does not have; mount it "
                + "once without --readOnly, so that they are written")
        try await hold.look(isForced: false, claim(old, unsaved: 0))
        let conflict = await #expect(throws: VolumeError.self) {
            try await hold.look(isForced: false, claim(foreign, unsaved: 0))
        }
        #expect(conflict?.code == .alreadyMounted)
    }
}
