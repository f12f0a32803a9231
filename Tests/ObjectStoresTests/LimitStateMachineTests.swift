// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import ObjectStores

@Suite("LimitStateMachine")
struct LimitStateMachineTests {
    private typealias Ticket = LimitStateMachine.Ticket

    private func machine(_ requestsMax: Int, reserve: Int) -> LimitStateMachine {
        LimitStateMachine(limits: RequestLimits(requestsMax: requestsMax, foregroundReserve: reserve))
    }

    @Test("so many requests are sent at once, and the next ones wait in order")
    func isFirstComeFirstServed() {
        var machine = machine(2, reserve: 0)
        let tickets = (0..<5).map { _ in machine.enter(.foreground) }
        #expect(tickets.map(\.isSent) == [true, true, false, false, false])
        #expect(machine.inFlightCount == 2)
        #expect(machine.waitingCount == 3)
        #expect(machine.finish(tickets[1].ticket, .success) == [tickets[2].ticket])
        #expect(machine.finish(tickets[0].ticket, .other) == [tickets[3].ticket])
        #expect(machine.waits == 3)
    }

    @Test("the background leaves the reserve to the foreground")
    func keepsTheReserve() {
        var machine = machine(4, reserve: 2)
        let background = (0..<5).map { _ in machine.enter(.background) }
        #expect(background.map(\.isSent) == [true, true, false, false, false])
        #expect(machine.enter(.foreground).isSent)
        #expect(machine.enter(.foreground).isSent)
        #expect(!machine.enter(.foreground).isSent)
        #expect(machine.inFlightCount == 4)
    }

    @Test("the foreground may use all lanes, but a waiting background request gets one")
    func doesNotStarveTheBackground() {
        var machine = machine(4, reserve: 2)
        let foreground = (0..<6).map { _ in machine.enter(.foreground) }
        #expect(foreground.filter(\.isSent).count == 4)
        let background = machine.enter(.background)
        #expect(!background.isSent)
        #expect(machine.finish(foreground[0].ticket, .success) == [background.ticket])
        #expect(machine.finish(foreground[1].ticket, .success) == [foreground[4].ticket])
    }

    @Test("requests that time out together halve the limit once")
    func halvesOncePerGeneration() {
        var machine = machine(64, reserve: 1)
        let tickets = (0..<40).map { _ in machine.enter(.foreground).ticket }
        for ticket in tickets { _ = machine.finish(ticket, .overload) }
        #expect(machine.limit == 32)
        #expect(machine.halvings == 1)
        for _ in 0..<10 { _ = machine.finish(machine.enter(.foreground).ticket, .overload) }
        #expect(machine.limit == 1)
    }

    @Test("as many successes as there are lanes grow the limit by one, up to the most")
    func grows() {
        var machine = machine(4, reserve: 1)
        for _ in 0..<2 { _ = machine.finish(machine.enter(.foreground).ticket, .overload) }
        #expect(machine.limit == 1)
        var limits: [Int] = []
        for _ in 0..<8 {
            _ = machine.finish(machine.enter(.foreground).ticket, .success)
            limits.append(machine.limit)
        }
        #expect(limits == [2, 2, 3, 3, 3, 4, 4, 4])
    }

    @Test("a success that was sent before the halving does not grow the limit")
    func ignoresOldSuccesses() {
        var machine = machine(8, reserve: 1)
        let tickets = (0..<7).map { _ in machine.enter(.foreground).ticket }
        _ = machine.finish(tickets[0], .overload)
        for ticket in tickets.dropFirst() { _ = machine.finish(ticket, .success) }
        #expect(machine.limit == 4)
    }

    @Test("after a halving a foreground request does not wait for the uploads in flight")
    func passesUploadsAfterHalving() {
        var machine = machine(8, reserve: 2)
        let uploads = (0..<6).map { _ in machine.enter(.background).ticket }
        for ticket in uploads.prefix(1) { _ = machine.finish(ticket, .overload) }
        #expect(machine.limit == 4)
        #expect(machine.inFlightCount == 5)
        #expect(machine.enter(.foreground).isSent)
        #expect(!machine.enter(.background).isSent)
    }

    @Test("at limit 1 there may be one of each priority, and none starves")
    func servesBothAtLimitOne() {
        var machine = machine(4, reserve: 1)
        for _ in 0..<2 { _ = machine.finish(machine.enter(.foreground).ticket, .overload) }
        let foreground = machine.enter(.foreground)
        let background = machine.enter(.background)
        #expect(foreground.isSent && background.isSent)
        #expect(!machine.enter(.foreground).isSent)
        #expect(!machine.enter(.background).isSent)
    }

    @Test("a request that is cancelled while it waits is never sent")
    func cancels() {
        var machine = machine(1, reserve: 0)
        let first = machine.enter(.foreground).ticket
        let second = machine.enter(.foreground).ticket
        let third = machine.enter(.foreground).ticket
        #expect(machine.cancel(second).wasWaiting)
        #expect(!machine.cancel(second).wasWaiting)
        #expect(!machine.cancel(first).wasWaiting)
        #expect(machine.finish(first, .success) == [third])
        #expect(machine.finish(third, .success) == [])
        #expect(machine.inFlightCount == 0)
    }

    @Test("a waiting background request that is raised is sent like one of the foreground")
    func raises() {
        var machine = machine(4, reserve: 2)
        let background = (0..<5).map { _ in machine.enter(.background).ticket }
        #expect(machine.raise(background[4]) == [background[4]])
        #expect(machine.raise(background[4]) == [] && machine.raise(background[0]) == [])
        #expect(machine.raise(background[3]) == [background[3]])
        #expect(!machine.enter(.foreground).isSent)
        // It held a lane of the foreground, and gives that back.
        #expect(machine.finish(background[4], .success).count == 1)
        #expect(machine.waitingCount == 1 && machine.inFlightCount == 4)
    }

    @Test("a raised request waits behind the foreground that came before, and may still be cancelled")
    func raisesInOrder() {
        var machine = machine(1, reserve: 0)
        let first = machine.enter(.foreground).ticket
        let background = (0..<3).map { _ in machine.enter(.background).ticket }
        let second = machine.enter(.foreground).ticket
        #expect(machine.raise(background[2]) == [] && machine.raise(background[1]) == [])
        #expect(machine.cancel(background[1]).wasWaiting && !machine.cancel(background[1]).wasWaiting)
        #expect(machine.finish(first, .success) == [second])
        #expect(machine.finish(second, .success) == [background[2]])
        #expect(machine.finish(background[2], .success) == [background[0]])
        #expect(machine.finish(background[0], .success) == [] && machine.inFlightCount == 0 && machine.waitingCount == 0)
    }

    @Test("any dialogue keeps the bounds, forgets nobody, and ends empty", arguments: 0..<50)
    func keepsInvariants(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let requestsMax = Int.random(in: 1...12, using: &generator)
        let reserve = Int.random(in: 0..<requestsMax, using: &generator)
        var machine = machine(requestsMax, reserve: reserve)
        var flying: [(ticket: Ticket, priority: IOPriority, order: Int)] = []
        var waiting: [(ticket: Ticket, priority: IOPriority, order: Int)] = []
        func send(_ tickets: [Ticket]) {
            for ticket in tickets {
                let index = waiting.firstIndex { $0.ticket == ticket }
                guard let index else { return #expect(Bool(false), "seed \(seed): sent whom nobody knows") }
                let own = waiting.remove(at: index)
                let isFirst = !waiting.contains { $0.priority == own.priority && $0.order < own.order }
                #expect(isFirst, "seed \(seed): overtaken by its equal")
                flying.append(own)
            }
        }
        for step in 0..<2000 {
            let isDraining = step >= 1500
            switch isDraining ? 1 : Int.random(in: 0..<4, using: &generator) {
            case 0:
                let priority: IOPriority = generator.chance(0.5) ? .foreground : .background
                let (ticket, isSent) = machine.enter(priority)
                if isSent { flying.append((ticket, priority, step)) } else { waiting.append((ticket, priority, step)) }
            case 1 where !flying.isEmpty:
                let ended = flying.remove(at: Int.random(in: flying.indices, using: &generator))
                let ending: LimitStateMachine.Ending = generator.chance(0.1) ? .overload : .success
                send(machine.finish(ended.ticket, ending))
            case 2 where !waiting.isEmpty && generator.chance(0.2):
                let gone = waiting.remove(at: Int.random(in: waiting.indices, using: &generator))
                let (wasWaiting, sent) = machine.cancel(gone.ticket)
                #expect(wasWaiting)
                send(sent)
            case 3 where !waiting.isEmpty && generator.chance(0.3):
                let index = Int.random(in: waiting.indices, using: &generator)
                let wasBackground = waiting[index].priority == .background
                if wasBackground { waiting[index] = (waiting[index].ticket, .foreground, step) }
                let sent = machine.raise(waiting[index].ticket)
                #expect(wasBackground || sent.isEmpty)
                send(sent)
            default: break
            }
            let background = flying.count { $0.priority == .background }
            let holds =
                machine.inFlightCount == flying.count && machine.waitingCount == waiting.count
                && (1...requestsMax).contains(machine.limit) && flying.count <= requestsMax
                && (!flying.isEmpty || waiting.isEmpty) && background <= requestsMax - reserve
            guard holds else {
                Issue.record("seed \(seed) step \(step): \(flying) fly, \(waiting) wait, limit \(machine.limit)")
                return
            }
        }
        #expect(flying.isEmpty && waiting.isEmpty, "seed \(seed): not drained")
    }
}
