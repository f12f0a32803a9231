// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Testing

@testable import BlockStores

@Suite("The ledger of the cache file") struct CacheFileLedgerTests {
    private let layout = CacheFileLayout(blockSize: 16384, slotCount: 2, spareCount: 3, zeroEventCount: 16)

    /// Writes one sector and tells where.
    private func write(_ ledger: inout CacheFile.Ledger, _ key: Int, isUser: Bool = true) -> Int? {
        guard case .go(let plan) = ledger.planWrite(slot: key / 4, sectors: key % 4..<key % 4 + 1, isUser: isUser) else {
            return nil
        }
        guard case .done = ledger.finishWrite(plan) else { return nil }
        return plan.locations[0]
    }

    private func commit(_ ledger: inout CacheFile.Ledger) -> [Int] {
        let number = ledger.beginCommit()
        let erasable = ledger.endCommit(number)
        ledger.noteErased(erasable)
        return erasable.map(\.location)
    }

    @Test("a version that is not committed is overwritten, a committed one is not")
    func places() {
        var ledger = CacheFile.Ledger(layout: layout)
        #expect(write(&ledger, 1) == 1)
        #expect(write(&ledger, 1) == 1)
        #expect(commit(&ledger).isEmpty)
        let spare = write(&ledger, 1)
        #expect(spare == 8)
        #expect(write(&ledger, 1) == spare)
        #expect(commit(&ledger).isEmpty)
        #expect(write(&ledger, 1) == 1, "the home is free again")
        #expect(commit(&ledger) == [8])
        #expect(!ledger.freeSpares.contains(8), "its erasing is not durable")
        #expect(write(&ledger, 1) == 9)
        _ = commit(&ledger)
        #expect(ledger.freeSpares.contains(8))
    }

    @Test("while a commit runs or is wanted, nothing that it covers is overwritten")
    func committing() {
        var ledger = CacheFile.Ledger(layout: layout)
        _ = write(&ledger, 0)
        let number = ledger.beginCommit()
        #expect(write(&ledger, 0) == 8)
        _ = ledger.endCommit(number)
        #expect(write(&ledger, 0) == 8, "the newer version came after the commit began")
        ledger.isSyncWanted = true
        #expect(write(&ledger, 0) == 9)
    }

    @Test("a rewrite in place holds the next commit up")
    func rewriting() {
        var ledger = CacheFile.Ledger(layout: layout)
        _ = write(&ledger, 0)
        guard case .go(let plan) = ledger.planWrite(slot: 0, sectors: 0..<2, isUser: true) else { return #expect(Bool(false)) }
        #expect(ledger.rewriteCount == 1)
        _ = ledger.finishWrite(plan)
        #expect(ledger.rewriteCount == 0)
        guard case .go(let failing) = ledger.planWrite(slot: 0, sectors: 0..<2, isUser: true) else { return #expect(Bool(false)) }
        #expect(ledger.rewriteCount == 2 && ledger.failWrite(failing).isEmpty && ledger.rewriteCount == 0)
    }

    @Test("a sector is overwritten in place again once its mark is durable")
    func cleaning() {
        var ledger = CacheFile.Ledger(layout: layout)
        _ = write(&ledger, 0)
        _ = commit(&ledger)
        ledger.noteMark(ledger.sequence, of: BlockNumber(5), in: 0)
        #expect(ledger.protected[0])
        _ = commit(&ledger)
        #expect(!ledger.protected[0] && write(&ledger, 0) == 0)
        _ = commit(&ledger)
        ledger.noteMark(ledger.sequence - 1, of: BlockNumber(5), in: 0)
        _ = commit(&ledger)
        #expect(ledger.protected[0], "the mark does not cover the last write")
    }

    @Test("a clean version is not overwritten while an old one in a spare may come back")
    func shadows() {
        var ledger = CacheFile.Ledger(layout: layout)
        for _ in 0..<2 {
            _ = write(&ledger, 0)
            _ = commit(&ledger)
        }
        #expect(ledger.location(of: 0) == 8 && write(&ledger, 0) == 0)
        ledger.noteMark(ledger.sequence, of: BlockNumber(5), in: 0)
        #expect(commit(&ledger) == [8] && !ledger.protected[0])
        let number = ledger.beginCommit()
        #expect(write(&ledger, 0) == 9, "the erasing of the spare is not durable")
        _ = ledger.endCommit(number)
        #expect(ledger.shadowed.isEmpty)
    }

    @Test("what comes while a commit runs is not covered by it: marks, releases, erasings")
    func lateComers() {
        var ledger = CacheFile.Ledger(layout: layout)
        _ = write(&ledger, 0)
        _ = commit(&ledger)
        _ = write(&ledger, 0)
        _ = write(&ledger, 4)
        _ = commit(&ledger)
        #expect(ledger.freeSpares.count == 2)
        ledger.hasNews = true
        let number = ledger.beginCommit()
        ledger.noteMark(ledger.sequence, of: BlockNumber(6), in: 1)
        ledger.noteEmpty(0, base: ledger.sequence, isSettled: false)
        #expect(ledger.endCommit(number).isEmpty)
        #expect(ledger.protected[4] && ledger.freeSpares.count == 2 && ledger.unsettled[0] != nil)
        _ = commit(&ledger)
        #expect(!ledger.protected[4] && ledger.freeSpares.count == 3 && ledger.unsettled.isEmpty)
    }

    @Test("a write that ends after a mark was told is made again, under a later number")
    func marks() {
        var ledger = CacheFile.Ledger(layout: layout)
        guard case .go(let plan) = ledger.planWrite(slot: 0, sectors: 0..<1, isUser: true) else { return #expect(Bool(false)) }
        ledger.markTold = ledger.sequence
        #expect(ledger.recordableMark(ledger.sequence, of: BlockNumber(5), in: 0) == plan.sequence - 1)
        #expect(ledger.recordableMark(ledger.sequence, of: BlockNumber(6), in: 1) == plan.sequence)
        guard case .again(let again) = ledger.finishWrite(plan) else { return #expect(Bool(false)) }
        #expect(again.sequence > plan.sequence && again.locations == plan.locations)
        guard case .done = ledger.finishWrite(again) else { return #expect(Bool(false)) }
        #expect(ledger.userWrites.isEmpty && ledger.lastUser[0] == again.sequence)
    }

    @Test("sectors that are being brought home are left alone, and their spares are free two commits later")
    func relocation() {
        var ledger = CacheFile.Ledger(layout: layout)
        for key in 0..<3 { _ = write(&ledger, key) }
        _ = commit(&ledger)
        for key in 0..<3 { _ = write(&ledger, key) }
        #expect(ledger.beginRelocation(countMax: 9).isEmpty, "the homes are held")
        _ = commit(&ledger)
        guard case .needSpares(1) = ledger.planWrite(slot: 0, sectors: 3..<4, isUser: true) else {
            #expect(write(&ledger, 3) == 3)
            let moves = ledger.beginRelocation(countMax: 9)
            #expect(moves.count == 3)
            guard case .waitForRelocation = ledger.planWrite(slot: 0, sectors: 0..<1, isUser: true) else {
                return #expect(Bool(false))
            }
            for (key, spare) in moves { ledger.finishRelocation(key, from: spare, succeeded: true) }
            #expect(commit(&ledger).count == 3 && ledger.freeSpares.isEmpty)
            #expect(commit(&ledger).isEmpty && ledger.freeSpares.count == 3)
            return
        }
        #expect(Bool(false), "a first version needs no spare")
    }

    /// What the disk would hold: of each location the version, and whether a crash could need it.
    @Test("no write goes to a location that a crash could need", arguments: UInt64(0)..<40)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var ledger = CacheFile.Ledger(layout: layout)
        var content: [Int: (key: Int, version: Int)] = [:]
        var newest: [Int: Int] = [:]
        var committed: [Int: Int] = [:]
        for step in 1...500 {
            if generator.chance(0.3) {
                let covered = newest
                let number = ledger.beginCommit()
                let key = Int.random(in: 0..<8, using: &generator)
                if generator.chance(0.5) { write(key, step) }
                let erasable = ledger.endCommit(number)
                committed = covered
                for (_, location) in erasable { content[location] = nil }
                ledger.noteErased(erasable)
            } else if generator.chance(0.05) {
                let slot = Int.random(in: 0..<2, using: &generator)
                ledger.noteEmpty(slot, base: ledger.sequence, isSettled: false)
                // The cache's rule.
                let number = ledger.beginCommit()
                ledger.noteErased(ledger.endCommit(number))
                for key in layout.homes(of: slot) {
                    committed[key] = nil
                    newest[key] = nil
                    content = content.filter { $0.value.key != key }
                }
                committed = newest
            } else {
                write(Int.random(in: 0..<8, using: &generator), -step)
            }
        }
        func write(_ key: Int, _ version: Int) {
            guard let location = self.write(&ledger, key) else { return }
            if let old = content[location] {
                #expect(committed[old.key] != old.version, "seed \(seed): overwrites what was committed")
            }
            content[location] = (key, version)
            newest[key] = version
            #expect(ledger.location(of: key) == location)
        }
    }
}
