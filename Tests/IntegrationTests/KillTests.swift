// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// kill -9 of the daemon under writers that know what they wrote.
    @Suite struct KillTests {
        @Test(
            "after kill -9 at any moment every sector holds, whole, what its last fsync covered or something later",
            .needs(.root, .fuse, .gateway, .curl), arguments: KillMode.allCases)
        func kills(mode: KillMode) throws {
            // Without a cache a few kills show that nothing else is wrong.
            let kills = mode.isCached ? Effort.kills : max(1, Effort.kills / 4)
            print("kill rig: \(mode.rawValue): \(kills) kills, seed \(Effort.seed)")
            var counts = StampCounts()
            var killCount = 0
            for cacheBlocks in mode.cacheSizes {
                try withWorkspace { workspace in
                    let rig = try KillRig(mode, cacheBlocks: cacheBlocks, seed: Effort.seed, in: workspace)
                    do {
                        try rig.run(kills: kills / mode.cacheSizes.count)
                        let findings = rig.disk.findings
                        guard findings.isEmpty else { throw FixtureError(findings.joined(separator: "\n")) }
                    } catch {
                        try addToReport(mode, rig.killCount, rig.disk.counts, outcome: "FAILED with \(cacheBlocks) blocks")
                        throw FixtureError(
                            "seed \(Effort.seed), \(cacheBlocks) blocks, kill \(rig.killCount): \(error)\n\(rig.log)")
                    }
                    counts.add(rig.disk.counts)
                    killCount += rig.killCount
                }
            }
            print("kill rig: \(mode.rawValue): \(killCount) kills, \(counts)")
            // Or else nothing was shown.
            #expect(counts.writes > 5 * killCount && counts.syncs > killCount / 2 && counts.sectorsAtRisk > 0, "\(counts)")
            try addToReport(mode, killCount, counts, outcome: "nothing lost")
        }

        private func addToReport(_ mode: KillMode, _ killCount: Int, _ counts: StampCounts, outcome: String) throws {
            try Effort.addToReport("| kill -9, \(mode.rawValue) | \(killCount) kills | \(Effort.seed) | \(counts) | \(outcome) |")
        }

        @Test(
            "a store that forgets, loses, mixes or swaps what was fsynced is found out by the kill rig",
            .needs(.root, .fuse), arguments: KillStore.Damage.allCases)
        func damageIsFound(_ damage: KillStore.Damage) throws {
            try withWorkspace { workspace in
                let rig = try KillRig(.noCache, cacheBlocks: 0, seed: Effort.seed, in: workspace)
                try rig.startFresh()
                try rig.work { try rig.store.keepCopy() }
                try rig.store.damage(damage)
                try rig.recover()
                #expect(rig.disk.kinds.contains(damage.kind), "seed \(Effort.seed): \(rig.disk.findings.first ?? "nothing")")
            }
        }

        @Test(
            "acknowledged writes that no fsync covers die with a cache in memory, and the kill rig sees that they do",
            .needs(.root, .fuse))
        func acknowledgedWritesMayBeLost() throws {
            try withWorkspace { workspace in
                let rig = try KillRig(
                    .memory, cacheBlocks: KillMode.memory.blockCount, seed: Effort.seed, in: workspace,
                    more: ["--blockCacheWriteDelay=5000"])
                try rig.startFresh()
                try rig.work(syncing: false)
                rig.disk.withModel { $0.demandAcknowledged() }
                try rig.recover()
                let expected: Set<StampModel.Violation.Kind> = [.older, .zeros]
                #expect(!rig.disk.kinds.isDisjoint(with: expected), "seed \(Effort.seed): nothing was lost")
            }
        }
    }
}
