// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Synchronization
import Testing

@Suite("The block cache over a cache file, from a seed") struct CacheFileSimulationTests {
    private static let chunkSize: UInt64 = 25

    /// `S3BACKER_SIM_SEEDS` sets how many seeds run, `S3BACKER_SIM_SEED` names the one that runs alone, and
    /// `S3BACKER_SIM_FIRST` the one to begin with.
    private static var seeds: [Range<UInt64>] {
        if let one = number("S3BACKER_SIM_SEED") { return [one..<one + 1] }
        let first = number("S3BACKER_SIM_FIRST") ?? 0
        let count = first + (number("S3BACKER_SIM_SEEDS") ?? 50)
        return stride(from: first, to: count, by: Int(chunkSize)).map { $0..<min($0 + chunkSize, count) }
    }

    @Test("no crash of a cache over its file loses what was promised, and nothing goes back to what was", arguments: seeds)
    func survives(seeds: Range<UInt64>) {
        for seed in seeds { live(seed) }
    }

    @Test("the crashes that the simulation of the cache file is about do happen")
    func isWorthIt() throws {
        var census: [String: Int] = [:]
        for seed in UInt64(0)..<12 {
            let simulation = try CacheFileSimulation(seed: seed)
            // What goes wrong is told by the other test.
            do { try simulation.run() } catch {}
            census.merge(simulation.census, uniquingKeysWith: +)
        }
        let events = [
            "flush", "orderly end", "look", "crash", "assign", "release", "release of dirty data", "zero log rewritten",
        ]
        for name in events { #expect(census[name, default: 0] > 0, "\(name): never") }
        if Self.number("S3BACKER_SIM_CENSUS") != nil {
            for (name, count) in census.sorted(by: { $0.key < $1.key }) { print("\(count)\t\(name)") }
        }
    }

    /// Lives through one seed; where that fails, once more, with a trace.
    private func live(_ seed: UInt64) {
        do {
            try CacheFileSimulation(seed: seed).run()
        } catch {
            var again = "it passed when it was repeated"
            var trace: [String] = []
            do {
                let simulation = try CacheFileSimulation(seed: seed, isTraced: true)
                defer { trace = simulation.state.withLock { $0.log } }
                try simulation.run()
            } catch { again = "\(error)" }
            let lines = trace.suffix(Self.number("S3BACKER_SIM_TRACE").map { Int($0) } ?? 60).joined(separator: "\n")
            Issue.record("seed \(seed): \(error)\nrepeated: \(again)\n\(lines)")
        }
    }

    private static func number(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }
}
