// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import ObjectStores

@Suite("ConsistencyStateMachine")
struct ConsistencyStateMachineTests {
    private let key = ObjectKey("k")
    private let old = ObjectVersion.tag(ETag("old"), size: 3)
    private let new = ObjectVersion.tag(ETag("new"), size: 3)
    private let sent = ObjectVersion.body(body("new"))

    private func machine(
        _ objectsMax: Int = 10, keptFor: Duration? = .seconds(10), delay: Duration = .milliseconds(500)
    ) -> ConsistencyStateMachine {
        ConsistencyStateMachine(
            limits: ConsistencyLimits(objectsMax: objectsMax, keptFor: keptFor, minWriteDelay: delay))
    }

    /// A machine that knows that the object was written at zero.
    private func knowing(_ version: ObjectVersion, delay: Duration = .milliseconds(500)) -> ConsistencyStateMachine {
        var machine = machine(delay: delay)
        begin(&machine, at: .zero)
        machine.end([key], .succeeded(version, isSettled: true), now: .zero)
        return machine
    }

    private func begin(_ machine: inout ConsistencyStateMachine, _ version: ObjectVersion? = nil, at now: Duration) {
        let ticket = machine.newNumber()
        #expect(machine.begin(version ?? sent, of: [key], ticket: ticket, now: now) == .begun)
    }

    private func read(_ machine: inout ConsistencyStateMachine, at now: Duration) -> ConsistencyStateMachine.Read? {
        if case .ask(let read) = machine.beginRead(of: key, hasWaited: true, now: now) { read } else { nil }
    }

    @Test("of an object that nobody has changed nothing is known, and every answer counts")
    func knowsNothing() {
        var machine = machine()
        guard case .pass = machine.beginRead(of: key, hasWaited: false, now: .zero) else { return #expect(Bool(false)) }
        #expect(machine.count(now: .zero) == 0)
    }

    @Test("a write that was answered is what a read must meet")
    func certain() {
        var machine = knowing(new)
        #expect(read(&machine, at: .seconds(1))?.candidates == [new])
        #expect(read(&machine, at: .seconds(1))?.onlyVersion == new)
    }

    @Test("a deleted object is absent without being asked for")
    func deleted() {
        var machine = knowing(.absent)
        guard case .absent = machine.beginRead(of: key, hasWaited: false, now: .seconds(1)) else { return #expect(Bool(false)) }
        guard case .absent = machine.beginHead(of: key, now: .seconds(1)) else { return #expect(Bool(false)) }
    }

    @Test("a read during a change may meet the version before or the new one, and waits for neither")
    func underWay() {
        var machine = knowing(old)
        begin(&machine, at: .seconds(1))
        #expect(read(&machine, at: .seconds(1))?.candidates == [old, sent])
        guard case .pass = machine.beginHead(of: key, now: .seconds(1)) else { return #expect(Bool(false)) }
        var unknown = self.machine()
        begin(&unknown, at: .zero)
        guard case .pass = unknown.beginRead(of: key, hasWaited: false, now: .zero) else { return #expect(Bool(false)) }
    }

    @Test("a change that failed with nothing done leaves what was known before, or nothing")
    func failed() {
        var machine = knowing(old)
        begin(&machine, at: .seconds(1))
        machine.end([key], .failed, now: .seconds(2))
        #expect(machine.entry(of: key)?.knowledge == .certain(old))
        #expect(machine.entry(of: key)?.learntAt == .zero)
        #expect(machine.entry(of: key)?.hasUnanswered == false)
        var unknown = self.machine()
        begin(&unknown, at: .zero)
        unknown.end([key], .failed, now: .zero)
        #expect(unknown.count(now: .zero) == 0)
    }

    @Test("a change without an answer leaves the version before and the attempted one, and a read waits once")
    func inDoubt() {
        var machine = knowing(old)
        begin(&machine, at: .seconds(1))
        machine.end([key], .unanswered(new), now: .seconds(2))
        #expect(machine.entry(of: key)?.knowledge == .inDoubt([old, new]))
        guard case .wait(until: .milliseconds(2500)) = machine.beginRead(of: key, hasWaited: false, now: .seconds(2)) else {
            return #expect(Bool(false))
        }
        #expect(read(&machine, at: .milliseconds(2400))?.candidates == [old, new])
        guard case .ask = machine.beginRead(of: key, hasWaited: false, now: .milliseconds(2500)) else {
            return #expect(Bool(false))
        }
        guard case .pass = machine.beginHead(of: key, now: .seconds(3)) else { return #expect(Bool(false)) }
    }

    @Test("where nothing was known before a change without an answer, every answer counts after the wait")
    func inDoubtOfEverything() {
        var machine = machine()
        begin(&machine, at: .zero)
        machine.end([key], .unanswered(new), now: .zero)
        guard case .wait = machine.beginRead(of: key, hasWaited: false, now: .zero) else { return #expect(Bool(false)) }
        guard case .pass = machine.beginRead(of: key, hasWaited: true, now: .zero) else { return #expect(Bool(false)) }
    }

    @Test("versions in doubt add up to eight; with more than that every answer counts")
    func boundsDoubt() {
        var machine = knowing(old)
        for round in 1...9 {
            begin(&machine, at: .seconds(1))
            machine.end([key], .unanswered(.tag(ETag("\(round % 8)"), size: 1)), now: .seconds(1))
            let count = machine.entry(of: key)?.knowledge?.versions?.count
            #expect(count == (round < 8 ? round + 1 : nil))
        }
    }

    @Test("a write that succeeds ends the doubt for reads; a HEAD still gets the store's own answer")
    func endsDoubt() {
        var machine = knowing(old)
        begin(&machine, at: .seconds(1))
        machine.end([key], .unanswered(new), now: .seconds(1))
        begin(&machine, at: .seconds(2))
        machine.end([key], .succeeded(new, isSettled: true), now: .seconds(2))
        #expect(read(&machine, at: .seconds(2))?.candidates == [new])
        guard case .pass = machine.beginHead(of: key, now: .seconds(2)) else { return #expect(Bool(false)) }
    }

    @Test("a read that a change overlaps may meet what was there before, and what came")
    func overlapped() throws {
        var machine = knowing(old)
        let early = try #require(read(&machine, at: .seconds(1)))
        begin(&machine, at: .seconds(1))
        machine.end([key], .succeeded(new, isSettled: true), now: .seconds(2))
        let late = try #require(read(&machine, at: .seconds(2)))
        #expect(machine.read(early)?.candidates == [old, sent, new])
        #expect(machine.read(early)?.isOverlapped == true)
        #expect(machine.read(late)?.candidates == [new])
        machine.endRead(early)
        machine.endRead(late)
    }

    @Test("what is known is forgotten after its time, counted from the end of the change")
    func forgets() {
        var machine = knowing(new)
        #expect(machine.count(now: .milliseconds(9999)) == 1)
        begin(&machine, at: .seconds(5))
        machine.end([key], .succeeded(old, isSettled: true), now: .seconds(6))
        #expect(machine.count(now: .seconds(15)) == 1)
        #expect(machine.count(now: .seconds(16)) == 0)
        var lasting = self.machine(keptFor: nil)
        begin(&lasting, at: .zero)
        lasting.end([key], .succeeded(new, isSettled: true), now: .zero)
        #expect(lasting.count(now: .seconds(1 << 30)) == 1)
    }

    @Test("knowledge that gets old while a change is under way is dropped, and the change keeps its place")
    func forgetsDuringChange() {
        var machine = knowing(old)
        begin(&machine, at: .seconds(9))
        #expect(machine.count(now: .seconds(11)) == 1)
        machine.end([key], .unanswered(new), now: .seconds(12))
        #expect(machine.entry(of: key)?.knowledge == .inDoubt(nil))
    }

    @Test("the next change is due a while after the last one ended")
    func delays() {
        let machine = knowing(new)
        #expect(machine.dueTime(of: [key], now: .milliseconds(100)) == .milliseconds(500))
        #expect(machine.dueTime(of: [key], now: .milliseconds(500)) == nil)
        #expect(machine.dueTime(of: [ObjectKey("other")], now: .zero) == nil)
    }

    @Test("changes that find no room get it in the order of coming, all they need at once")
    func waitsForRoom() {
        var machine = machine(2)
        let keys = ["a", "b", "c", "d"].map(ObjectKey.init)
        #expect(machine.begin(.absent, of: [keys[0]], ticket: 1, now: .zero) == .begun)
        #expect(machine.begin(.absent, of: [keys[1], keys[2]], ticket: 2, now: .zero) == .full(until: .seconds(1)))
        #expect(machine.begin(.absent, of: [keys[3]], ticket: 3, now: .zero) == .afterOthers)
        machine.end([keys[0]], .succeeded(.absent, isSettled: true), now: .seconds(1))
        #expect(machine.begin(.absent, of: [keys[1], keys[2]], ticket: 2, now: .seconds(10)) == .full(until: .seconds(11)))
        #expect(machine.begin(.absent, of: [keys[1], keys[2]], ticket: 2, now: .seconds(11)) == .begun)
        #expect(machine.firstWaiting == 3)
        machine.stopWaiting(3)
        #expect(machine.firstWaiting == nil)
    }

    @Test("a place that a failed change gives back is found within a second, however long anything is kept")
    func findsFreedRoom() {
        var machine = machine(1, keptFor: .seconds(86_400))
        let (one, other) = (ObjectKey("a"), ObjectKey("b"))
        #expect(machine.begin(.absent, of: [one], ticket: 1, now: .zero) == .begun)
        #expect(machine.begin(.absent, of: [other], ticket: 2, now: .zero) == .full(until: .seconds(1)))
        machine.end([one], .failed, now: .milliseconds(500))
        #expect(machine.begin(.absent, of: [other], ticket: 2, now: .seconds(1)) == .begun)
        machine.end([other], .succeeded(.absent, isSettled: true), now: .seconds(1))
        #expect(machine.begin(.absent, of: [one], ticket: 3, now: .seconds(1)) == .full(until: .seconds(86_401)))
    }

    @Test("who needs no room passes those who wait, but not for longer than anything is kept")
    func starvesNobody() {
        var machine = knowing(new, delay: .zero)
        let others = (0..<10).map { ObjectKey("o\($0)") }
        #expect(machine.begin(.absent, of: others, ticket: 100, now: .seconds(1)) == .full(until: .seconds(10)))
        for second in [2, 5, 8, 10] {
            begin(&machine, at: .seconds(second))
            machine.end([key], .succeeded(new, isSettled: true), now: .seconds(second))
        }
        #expect(machine.begin(sent, of: [key], ticket: 101, now: .seconds(11)) == .afterOthers)
    }

    @Test("a table that never forgets and is full says so at once")
    func fullForEver() {
        var machine = machine(1, keptFor: nil)
        #expect(machine.begin(.absent, of: [ObjectKey("a")], ticket: 1, now: .zero) == .begun)
        #expect(machine.begin(.absent, of: [ObjectKey("b")], ticket: 2, now: .zero) == .fullForEver)
        #expect(machine.firstWaiting == nil)
    }
}
