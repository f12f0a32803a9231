// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc
import Testing

@Suite("The whole stack over a faulty store, from a seed") struct SimulationTests {
    /// Seeds per test case; cases run side by side.
    private static let chunkSize = 50

    /// `S3BACKER_SIM_SEEDS` sets how many seeds run, `S3BACKER_SIM_SEED` names the one that runs alone.
    private static var seeds: [Range<UInt64>] {
        if let one = number("S3BACKER_SIM_SEED") { return [one..<one + 1] }
        let count = number("S3BACKER_SIM_SEEDS") ?? 1000
        return stride(from: 0, to: count, by: chunkSize).map { $0..<min($0 + UInt64(chunkSize), count) }
    }

    @Test("no acknowledged byte is lost, and nothing is read that nobody wrote", arguments: seeds)
    func survives(seeds: Range<UInt64>) {
        for seed in seeds { live(seed) }
    }

    @Test("a write that failed does not let an older attempt undo the write before it", arguments: [UInt64(497), 852, 932])
    func failedOverWatched(seed: UInt64) { live(seed, isFixed: true) }

    @Test("a write that failed before a shutdown does not undo what the next mount writes", arguments: [UInt64(2220)])
    func failedBeforeShutDown(seed: UInt64) { live(seed, isFixed: true) }

    @Test("a shutdown leaves no request for the mount token on its way", arguments: [UInt64(614), 1372, 1386])
    func tokenRequestsAreOver(seed: UInt64) { live(seed, isFixed: true) }

    @Test("a flush writes a block again that the guard calls stale", arguments: [UInt64(3879)])
    func staleIsMended(seed: UInt64) { live(seed) }

    @Test("a seed does the same again")
    func isDeterministic() throws {
        var forms: Set<Form> = []
        for seed in UInt64(0)..<40 where forms.insert(Scenario(seed: seed, isFixed: false).form).inserted || seed < 10 {
            let traces = [Trace(), Trace()]
            for trace in traces { _ = try VolumeLife.run(seed: seed, trace: trace) }
            #expect(traces[0].all == traces[1].all && !traces[0].all.isEmpty, "seed \(seed)")
        }
        #expect(forms.count == Form.allCases.count)
    }

    @Test("the faults, the collisions and the repairs that the simulation is about do happen")
    func isWorthIt() throws {
        var census: Census = [:]
        for seed in UInt64(0)..<60 { census.merge(try VolumeLife.run(seed: seed), uniquingKeysWith: +) }
        let faults = ["refused", "slowDown", "forbidden", "serverError", "answerLost", "timeout", "lateArrival"]
        let others = [
            "requests", "requests failed", "requests cancelled", "requests given up", "retries", "late arrivals",
            "mutations that met", "flushes with blocks to confirm", "blocks mended", "zeros known", "units said to be zeros",
            "crashes", "shutdowns", "takeovers", "mounts that failed", "blocks that a late request may have undone",
            "crashes of mounts that were opening", "races for the key", "passwords changed",
            "changes of the password that crashed",
            "wrong passwords refused",
        ]
        for name in faults.map({ "fault \($0)" }) + Form.allCases.map({ "form \($0)" }) + others {
            #expect(census[name, default: 0] > 0, "\(name): never")
        }
        if Self.number("S3BACKER_SIM_CENSUS") != nil {
            for (name, count) in census.sorted(by: { $0.key < $1.key }) { print("\(count)\t\(name)") }
        }
    }

    /// Lives through one seed; where that fails, once more, with a trace.
    private func live(_ seed: UInt64, isFixed: Bool = false) {
        do {
            _ = try VolumeLife.run(seed: seed, isFixed: isFixed)
        } catch {
            let trace = Trace()
            var again = "it passed when it was repeated"
            do { _ = try VolumeLife.run(seed: seed, isFixed: isFixed, trace: trace) } catch { again = "\(error)" }
            Issue.record(
                "seed \(seed): \(error)\nrepeated: \(again)\n\(trace.tail(Self.number("S3BACKER_SIM_TRACE").map { Int($0) } ?? 60))"
            )
        }
    }

    private static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }
}
