// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import ObjectStores

@Suite("Lists under the consistency guard")
struct ConsistencyListTests {
    private let key = ObjectKey("k")
    private let old = ObjectVersion.tag(ETag("old"), size: 3)
    private let new = ObjectVersion.tag(ETag("new"), size: 3)
    private let sent = ObjectVersion.body(body("new"))
    private let empty = ObjectListPage(entries: [], next: nil)

    private func machine(_ objectsMax: Int = 10, keptFor: Duration? = .seconds(10)) -> ConsistencyStateMachine {
        ConsistencyStateMachine(
            limits: ConsistencyLimits(objectsMax: objectsMax, keptFor: keptFor, minWriteDelay: .zero))
    }

    private func know(_ machine: inout ConsistencyStateMachine, _ name: String, _ version: ObjectVersion, at now: Duration) {
        let key = ObjectKey(name)
        #expect(machine.begin(sent, of: [key], ticket: machine.newNumber(), now: now) == .begun)
        machine.end([key], .succeeded(version, isSettled: true), now: now)
    }

    private func entry(_ name: String, _ tag: String?) -> ObjectListEntry {
        ObjectListEntry(key: ObjectKey(name), size: 3, eTag: tag.map { ETag($0) })
    }

    /// A list that is answered when it is sent.
    private func overlay(
        _ machine: inout ConsistencyStateMachine, _ page: ObjectListPage, prefix: String = "", after: ObjectKey? = nil,
        limit: Int = 10, at now: Duration = .zero
    ) -> ObjectListPage {
        let ticket = machine.beginList(now: now)
        defer { machine.endList(ticket) }
        let bounds = ConsistencyStateMachine.ListBounds(prefix: prefix, after: after, limit: limit)
        guard let overlaid = machine.overlay(page, bounds, ticket, now: now) else {
            Issue.record("nothing was forgotten")
            return page
        }
        return overlaid
    }

    @Test("a page of a list gets what is known to exist, loses what is known to be deleted, and keeps its order and its end")
    func overlays() {
        var machine = machine()
        for name in ["p/1", "p/3", "p/5", "p/9", "q"] { know(&machine, name, new, at: .zero) }
        know(&machine, "p/2", .absent, at: .zero)
        know(&machine, "p/4", .absent, at: .zero)
        let page = ObjectListPage(
            entries: [entry("p/2", "x"), entry("p/3", "older"), entry("p/6", "x")], next: ObjectKey("p/6"))
        let whole = overlay(&machine, page, prefix: "p/", after: ObjectKey("p/1"))
        #expect(whole.entries == [entry("p/3", "new"), entry("p/5", "new"), entry("p/6", "x")])
        #expect(whole.next == ObjectKey("p/6"))
        let cut = overlay(&machine, page, prefix: "p/", limit: 2)
        #expect(cut.entries == [entry("p/1", "new"), entry("p/3", "new")])
        #expect(cut.next == ObjectKey("p/3"))
        let last = overlay(
            &machine, ObjectListPage(entries: [entry("p/4", "x")], next: nil), prefix: "p/", after: ObjectKey("p/6"))
        #expect(last == ObjectListPage(entries: [entry("p/9", "new")], next: nil))
    }

    @Test("an object in doubt stays as it is listed, unless each version that it may have exists")
    func overlaysDoubt() {
        let empty = ObjectListPage(entries: [], next: nil)
        for (before, isAdded) in [(old, true), (ObjectVersion.absent, false)] {
            var machine = machine(keptFor: .seconds(10))
            know(&machine, "k", before, at: .zero)
            #expect(machine.begin(sent, of: [key], ticket: machine.newNumber(), now: .seconds(1)) == .begun)
            #expect(overlay(&machine, empty).entries.isEmpty != isAdded)
            machine.end([key], .unanswered(new), now: .seconds(1))
            let page = overlay(&machine, empty, at: .seconds(1))
            #expect(page.entries == (isAdded ? [entry("k", nil)] : []))
        }
    }

    @Test("what is forgotten while a list is under way is laid over its page, and not over that of a later list")
    func overlaysForgotten() throws {
        var machine = machine()
        know(&machine, "new", new, at: .zero)
        know(&machine, "gone", .absent, at: .seconds(1))
        let early = machine.beginList(now: .seconds(5))
        let all = ConsistencyStateMachine.ListBounds(prefix: "", after: nil, limit: 10)
        let stale = ObjectListPage(entries: [entry("gone", "old")], next: nil)
        #expect(machine.count(now: .seconds(20)) == 0)
        let late = machine.beginList(now: .seconds(20))
        #expect(machine.overlay(stale, all, late, now: .seconds(21)) == stale)
        #expect(machine.overlay(stale, all, early, now: .seconds(21))?.entries == [entry("new", "new")])
        machine.endList(early)
        #expect(machine.lists.keptCount == 0)
        machine.endList(late)
    }

    @Test("of what was forgotten beside a list the newest counts, and what is known again counts more")
    func overlaysNewest() throws {
        var machine = machine()
        let all = ConsistencyStateMachine.ListBounds(prefix: "", after: nil, limit: 10)
        know(&machine, "k", old, at: .zero)
        let ticket = machine.beginList(now: .seconds(5))
        know(&machine, "k", new, at: .seconds(15))
        #expect(machine.count(now: .seconds(30)) == 0)
        #expect(machine.overlay(empty, all, ticket, now: .seconds(30))?.entries == [entry("k", "new")])
        // A change under way may bring something else.
        #expect(machine.begin(.absent, of: [key], ticket: machine.newNumber(), now: .seconds(31)) == .begun)
        #expect(machine.overlay(empty, all, ticket, now: .seconds(31))?.entries == [])
        machine.end([key], .succeeded(.absent, isSettled: true), now: .seconds(32))
        let stale = ObjectListPage(entries: [entry("k", "new")], next: nil)
        #expect(machine.overlay(stale, all, ticket, now: .seconds(32))?.entries == [])
        machine.endList(ticket)
    }

    @Test("when more is forgotten beside a list than can be kept, its answer says nothing")
    func losesTrack() {
        let count = ListsUnderWay.forgottenMax + 1
        var machine = machine(count)
        let all = ConsistencyStateMachine.ListBounds(prefix: "", after: nil, limit: 10)
        let ticket = machine.beginList(now: .zero)
        for index in 0..<count { know(&machine, "\(index)", new, at: .zero) }
        let later = machine.beginList(now: .zero)
        #expect(machine.count(now: .seconds(20)) == 0)
        #expect(machine.overlay(empty, all, ticket, now: .seconds(20)) == nil)
        machine.endList(ticket)
        machine.endList(later)
        #expect(machine.lists.keptCount == 0)
        #expect(overlay(&machine, empty, at: .seconds(20)) == empty)
    }

    @Test("an older version's tag is not listed for one that may be another")
    func leavesOldTagsOut() {
        var machine = machine()
        know(&machine, "k", .digest(of: body("new")), at: .zero)
        #expect(overlay(&machine, ObjectListPage(entries: [entry("k", "older")], next: nil)).entries == [entry("k", nil)])
        know(&machine, "k", old, at: .zero)
        #expect(machine.begin(sent, of: [key], ticket: machine.newNumber(), now: .zero) == .begun)
        #expect(overlay(&machine, ObjectListPage(entries: [entry("k", "older")], next: nil)).entries == [entry("k", nil)])
        #expect(overlay(&machine, ObjectListPage(entries: [entry("k", "old")], next: nil)).entries == [entry("k", "old")])
    }

    @Test("sorted keys are those of a sorted array, from any key on", arguments: UInt64(0)..<4)
    func sortedKeys(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var keys = SortedKeys()
        var model: Set<ObjectKey> = []
        for step in 0..<6000 {
            let key = ObjectKey("\(Int.random(in: 0..<3000, using: &generator))")
            if model.remove(key) != nil {
                keys.remove(key)
            } else if step < 4000 {
                model.insert(key)
                keys.insert(key)
            }
            guard step % 500 == 499 else { continue }
            let first = ObjectKey("\(Int.random(in: 0..<3000, using: &generator))")
            for first in [ObjectKey(""), first, ObjectKey("~")] {
                var found: [ObjectKey] = []
                keys.forEach(from: first) { key in
                    found.append(key)
                    return found.count < 2000
                }
                #expect(found == Array(model.filter { $0 >= first }.sorted().prefix(2000)), "seed \(seed)")
            }
        }
    }
}
