// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc
import ObjectStores
import StoreTesting
import Synchronization
import Testing

/// The guard over a store that answers with old versions, old absences and deleted objects, and fails in every way, from a seed.
@Suite("Consistency simulation")
struct ConsistencySimulationTests {
    /// Ten parts, so that they run side by side.
    private static let parts = 10
    private static let seedsPerPart: UInt64 = 1000

    @Test(
        "over a store that serves old versions, old absences and deleted objects for any time, nothing old is returned as good",
        arguments: 0..<parts)
    func believesNothingOld(part: Int) throws {
        var staleCount = 0
        var goodReads = 0
        for seed in Self.seeds(part) {
            let outcome = try ConsistencyWorld(seed: seed, isGuarded: true).run()
            #expect(outcome.violations == [], "seed \(seed)")
            if !outcome.violations.isEmpty { return }
            staleCount += outcome.staleCount
            goodReads += outcome.goodReads
        }
        #expect(staleCount > 0, "the store was never stale")
        #expect(goodReads > 0, "no read ever succeeded")
    }

    @Test("without the guard, the same simulation reads old bytes, absences and deleted objects")
    func showsStalenessWithoutGuard() throws {
        var violations: [String] = []
        for seed in UInt64(0)..<100 { violations += try ConsistencyWorld(seed: seed, isGuarded: false).run().violations }
        #expect(violations.count > 100)
        for kind in ["get", "head", "list"] {
            #expect(violations.contains { $0.hasPrefix(kind) }, "\(kind) was never stale")
        }
        #expect(violations.contains { $0.contains("found absent") }, "no absence was stale")
    }

    /// `S3BACKER_SIM_SEED=n` runs one seed alone.
    private static func seeds(_ part: Int) -> Range<UInt64> {
        if let text = getenv("S3BACKER_SIM_SEED"), let seed = UInt64(String(cString: text)) {
            return part == 0 ? seed..<seed + 1 : 0..<1
        }
        return UInt64(part) * seedsPerPart..<UInt64(part + 1) * seedsPerPart
    }
}
