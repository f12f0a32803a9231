// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@testable import Volumes

@Suite("Changing the password of a volume")
struct VolumePasswordTests {
    private let fixture: EncryptedFixture

    init() { fixture = EncryptedFixture() }
    private init(_ fixture: EncryptedFixture) { self.fixture = fixture }

    private func object(_ store: (any ObjectStore)? = nil) -> VolumeKeyObject {
        VolumeKeyObject(
            in: store ?? fixture.store, fixture.options(.gcm), for: "change the password of", timeline: fixture.timeline,
            logger: quiet)
    }

    /// The key of the volume, if `password` unlocks what is stored now.
    private func key(_ password: String) async throws -> [UInt8]? {
        let read = try await fixture.store.objects.get(fixture.key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = read else { return nil }
        guard case .key(let key) = try VolumeKeyRecord(parsing: object.body.bytes).unwrap(by: secret(password)) else {
            return nil
        }
        return key.key.withBytes { Array($0) }
    }

    private func change(_ object: VolumeKeyObject, from old: String = "alt", to new: String = "neu") throws {
        try SimulationExecutor(seed: 1).run(on: fixture.timeline, stepsMax: 10_000) {
            try await object.change(from: secret(old), to: secret(new), quickScrypt)
        }
    }

    @Test("volume and key stay, salt and nonce are new, and only the new password holds")
    func changed() async throws {
        try await fixture.make(.gcm, "alt")
        let before = try required(try await object().read()).record
        let volumeKey = try required(try await key("alt"))
        _ = fixture.store.takeLog()
        try change(object())
        #expect(fixture.store.takeLog() == ["GET vm/s3backer-key", "PUT vm/s3backer-key", "GET vm/s3backer-key"])
        #expect(try await key("alt") == nil)
        #expect(try await key("neu") == volumeKey)
        let after = try required(try await object().read()).record
        #expect(after.volume == before.volume && after.salt != before.salt && after.nonce != before.nonce)
        #expect(fixture.store.objects.keys.count == 8)
    }

    @Test("the public entry spends the time and memory of new volumes on the new password")
    func publicEntry() async throws {
        try await fixture.make(.gcm, "alt", blocks: [])
        try await VolumePassword.change(
            over: fixture.store, fixture.options(.plain), from: secret("alt"), to: secret("neu"), timeline: fixture.timeline,
            logger: quiet)
        #expect(try required(try await object().read()).record.parameters == .forVolumes)
        #expect(try await key("neu") != nil)
    }

    @Test("a mount goes on over a change, and the next one takes the new password only")
    func mounted() async throws {
        try await fixture.make(.gcm, "alt")
        let volume = try await fixture.open(fixture.options(.gcm, "alt"))
        try change(object())
        _ = try await volume.blocks.write(.filled(99), to: 1, .foreground)
        try await fixture.close(volume)
        await #expect(throws: VolumeError.self) { try await fixture.open(fixture.options(.gcm, "alt")) }
        let again = try await fixture.open(fixture.options(.gcm, "neu"))
        for (block, byte) in [(1, 99), (2, 3)] as [(BlockNumber, UInt8)] {
            let contents = try await again.blocks.read(block, ifNot: nil, .foreground).contents
            #expect(contents?.spelt() == [UInt8](repeating: byte, count: 4096))
        }
    }

    @Test("a wrong old password, a missing object, and one that cannot be read change nothing")
    func refused() async throws {
        var error = #expect(throws: VolumeError.self) { try change(object()) }
        #expect(error?.code == .encryption)
        #expect(error?.message.contains("it has no key object \"vm/s3backer-key\"") == true)
        try await fixture.make(.gcm, "alt")
        error = #expect(throws: VolumeError.self) { try change(object(), from: "falsch") }
        #expect(error?.code == .password)
        #expect(error?.message.hasPrefix("cannot change the password of bucket \"b/vm\": the old password is not") == true)
        try await fixture.tamper(fixture.key.name) { bytes, _ in bytes[bytes.count - 2] ^= 1 }
        #expect(throws: VolumeError.self) { try change(object()) }
        #expect(fixture.changedNothing())
    }

    // MARK: Faults

    /// What becomes of one request, or of all from one on.
    enum Fault: CaseIterable, Sendable {
        case refused, answerLost, neverArrives, unsettled, conflict

        var fate: ScriptedObjectStore.Fate {
            switch self {
            case .refused: .fails(failure(.forbidden))
            case .answerLost: .answerLost
            case .neverArrives: .fails(ObjectStoreError(.timedOut, "operation timeout", outcomeIsUnknown: true))
            case .unsettled: .unsettled
            case .conflict: .fails(failure(.preconditionFailed))
            }
        }
    }

    /// What a message may say after a failure, and whether that is so.
    private func check(_ error: VolumeError?, _ volumeKey: [UInt8], _ note: String) async throws {
        let (old, new) = (try await key("alt"), try await key("neu"))
        #expect((old == volumeKey) != (new == volumeKey), "\(note): one password holds, and one only")
        guard let error else {
            #expect(new == volumeKey, "\(note): a change that succeeds is one")
            return
        }
        let text = error.message
        #expect(text.hasPrefix("cannot change the password of bucket \"b/vm\": "), "\(note)")
        if text.contains("the old password holds") { #expect(old == volumeKey, "\(note): \(text)") }
        if text.contains("the new password should hold") { #expect(new == volumeKey, "\(note): \(text)") }
    }

    @Test(
        "a fault at any request leaves one password that holds, and the message does not name the other",
        arguments: Fault.allCases, VolumeKeyObjectTests.Conditions.allCases)
    func faults(fault: Fault, conditions: VolumeKeyObjectTests.Conditions) async throws {
        for isLasting in [false, true] {
            for which in 1...6 {
                let fixture = EncryptedFixture()
                let test = VolumePasswordTests(fixture)
                try await fixture.make(.gcm, "alt", blocks: [])
                let volumeKey = try required(try await test.key("alt"))
                let count = Mutex(0)
                fixture.store.on { request in
                    let number = count.withLock {
                        $0 += 1
                        return $0
                    }
                    if isLasting ? number >= which : number == which { return fault.fate }
                    return conditions == .ignored && request.hasPrefix("PUT") ? .unconditional : .done
                }
                let store: any ObjectStore =
                    conditions == .refused ? UnconditionalObjectStore(over: fixture.store) : fixture.store
                var error: VolumeError?
                do {
                    try test.change(test.object(store))
                } catch let failure as VolumeError {
                    error = failure
                }
                try await test.check(error, volumeKey, "request \(which), \(isLasting ? "and all later" : "alone")")
            }
        }
    }

    @Test("attempts that arrive late never leave the volume without a password", arguments: UInt64(0)..<300)
    func late(seed: UInt64) async throws {
        try await fixture.make(.gcm, "alt", blocks: [])
        let volumeKey = try required(try await key("alt"))
        var plan = ObjectFaultPlan.rough
        plan.timeout = 0.1
        plan.lateArrival = 0.3
        plan.lateDelayMax = .seconds(59)
        let faulty = FaultyObjectStore(over: fixture.store, plan: plan, seed: seed, timeline: fixture.timeline)
        let store: any ObjectStore = seed.isMultiple(of: 2) ? faulty : UnconditionalObjectStore(over: faulty)
        var error: VolumeError?
        do {
            try change(object(store))
        } catch let failure as VolumeError {
            error = failure
        }
        try await faulty.deliverLate()
        try await check(error, volumeKey, "seed \(seed)")
    }

    @Test(
        "of two changes at once, one holds; the other hears of it, or has been overtaken after its end", arguments: UInt64(0)..<50
    )
    func twoAtOnce(seed: UInt64) async throws {
        try await fixture.make(.gcm, "alt", blocks: [])
        let volumeKey = try required(try await key("alt"))
        let (object, timeline) = (object(), fixture.timeline)
        fixture.store.on { _ in
            await Task.yield()
            return .done
        }
        let succeeded: [String] = try SimulationExecutor(seed: seed).run(on: timeline, stepsMax: 10_000) {
            await withTaskGroup(of: String?.self) { group in
                for new in ["eins", "zwei"] {
                    group.addTask {
                        do {
                            try await object.change(from: secret("alt"), to: secret(new), quickScrypt)
                            return new
                        } catch {
                            return nil
                        }
                    }
                }
                var names: [String] = []
                for await name in group { if let name { names.append(name) } }
                return names
            }
        }
        #expect(succeeded.count == 1, "seed \(seed)")
        for new in succeeded { #expect(try await key(new) == volumeKey, "seed \(seed)") }
    }
}
