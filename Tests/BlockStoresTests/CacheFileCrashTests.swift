// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import StoreTesting
import Testing

@testable import BlockStores

@Suite("The cache file after a crash") struct CacheFileCrashTests {
    private static let imageCount = ProcessInfo.processInfo.environment["S3BACKER_CRASH_IMAGES"].flatMap { Int($0) } ?? 100

    @Test("no crash loses what a commit covered, or brings back what it replaced", arguments: [false, true])
    func crashes(isEncrypted: Bool) async throws {
        let perSeed = 25
        for seed in 0..<UInt64(max(1, Self.imageCount / perSeed)) {
            var form = CacheFileWorld.Form(isEncrypted: isEncrypted)
            form.spareCount = [6, 9, 24][Int(seed % 3)]
            try await Self.play(seed: seed, imageCount: perSeed, form: form)
        }
    }

    /// Plays `imageCount` crashes of one history, each at a random moment; after some of them the history goes on from what was left.
    static func play(seed: UInt64, imageCount: Int, form: CacheFileWorld.Form) async throws {
        let world = try CacheFileWorld(seed: seed, form: form)
        let survivals: [Double] = [0, 0.1, 0.5, 0.9, 1]
        do {
            var played = 0
            while played < imageCount {
                for _ in 0..<Int.random(in: 5...40, using: &world.generator) { try await world.step() }
                for _ in 0..<5 {
                    played += 1
                    let moment = Int.random(in: world.firstMoment...world.recorder.now, using: &world.generator)
                    let survival = survivals[Int.random(in: 0..<survivals.count, using: &world.generator)]
                    let recovered = try world.crash(at: moment, survival: survival)
                    if played % 5 == 0 { try world.resume(recovered) }
                }
            }
        } catch {
            let story = world.log.suffix(60).joined(separator: "\n")
            Issue.record("seed \(seed), encrypted \(form.isEncrypted), spares \(form.spareCount): \(error)\n\(story)")
        }
    }
}
