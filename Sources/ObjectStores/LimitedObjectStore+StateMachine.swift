// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

/// Who may send now, who waits, and how the limit breathes. No locks, no clock, no continuations.
///
/// Lanes. The background never takes the last `reserve` lanes, so a foreground request finds one free. After a halving more
/// background requests may be in flight than the limit has lanes; foreground requests then still get the reserve, on top of the
/// limit: a system call never waits for an upload to end. In return one lane is kept for a waiting background
/// request, since write-back that starves would stop the writers that wait for it. So at limit 1 there may be one of each.
/// With a reserve of 0 there are no such lanes: the limit is exact, and the foreground just goes first.
///
/// Limit. A timeout or SlowDown halves it, once per generation: of 64 requests that time out together only the first
/// counts, since the others were sent under the old limit. As many successes as the limit has lanes let it grow by one.
///
/// Order. First come, first served within each priority; foreground before background. A request that is raised while it waits
/// comes to the foreground at that moment; one that is in flight stays what it was.
struct LimitStateMachine {
    /// Names a request from its entry to its end.
    struct Ticket: Hashable, Comparable {
        fileprivate let number: UInt64
        /// The priority that it entered with.
        fileprivate let priority: IOPriority

        static func < (left: Ticket, right: Ticket) -> Bool { left.number < right.number }
    }

    /// How a request ended, as far as the limit is concerned.
    enum Ending: Hashable {
        /// The store answered.
        case success
        /// The store, or the line, is overloaded: it timed out or SlowDown was said.
        case overload
        /// Says nothing about the load.
        case other
    }

    private let limits: RequestLimits
    private(set) var limit: Int
    private(set) var waits: UInt64 = 0
    private(set) var halvings: UInt64 = 0
    private var successes = 0
    private var generation: UInt64 = 0
    private var ticketCount: UInt64 = 0
    /// The requests in flight, each with the generation it was sent in.
    private var sent: [Ticket: UInt64] = [:]
    /// The requests of the background that were raised while they waited, and have not ended.
    private var raised: Set<Ticket> = []
    private var inFlight: [IOPriority: Int] = [.background: 0, .foreground: 0]
    private var queues: [IOPriority: TicketQueue] = [.background: TicketQueue(), .foreground: TicketQueue()]

    /// Begins with all lanes open.
    init(limits: RequestLimits) {
        self.limits = limits
        limit = limits.requestsMax
    }

    /// How many requests are in flight.
    var inFlightCount: Int { sent.count }

    /// How many requests wait.
    var waitingCount: Int { IOPriority.allCases.reduce(0) { $0 + queue($1).count } }

    /// Takes in a request.
    ///
    /// - Returns: Its ticket, and whether it may be sent at once; else it waits.
    mutating func enter(_ priority: IOPriority) -> (ticket: Ticket, isSent: Bool) {
        ticketCount += 1
        let ticket = Ticket(number: ticketCount, priority: priority)
        if queue(priority).isEmpty, maySend(priority) {
            send(ticket)
            return (ticket, true)
        }
        queues[priority]?.append(ticket)
        waits += 1
        return (ticket, false)
    }

    /// Whether a request that was entered has not been sent yet.
    func isWaiting(_ ticket: Ticket) -> Bool { sent[ticket] == nil }

    /// Removes a request that waits.
    ///
    /// - Returns: Whether it was waiting, and the requests to be sent now, because it was in their way.
    mutating func cancel(_ ticket: Ticket) -> (wasWaiting: Bool, sent: [Ticket]) {
        guard queues[priority(of: ticket)]?.remove(ticket) == true else { return (false, []) }
        raised.remove(ticket)
        return (true, admit())
    }

    /// Moves a waiting request of the background to the foreground.
    ///
    /// - Returns: The requests to be sent now, which may be this one; none when it does not wait there any more.
    mutating func raise(_ ticket: Ticket) -> [Ticket] {
        guard priority(of: ticket) == .background, queues[.background]?.remove(ticket) == true else { return [] }
        raised.insert(ticket)
        queues[.foreground]?.append(ticket)
        return admit()
    }

    /// Takes note that a request has ended.
    ///
    /// - Returns: The requests to be sent now.
    mutating func finish(_ ticket: Ticket, _ ending: Ending) -> [Ticket] {
        guard let sentIn = sent.removeValue(forKey: ticket) else { preconditionFailure("a request ends once") }
        inFlight[priority(of: ticket), default: 0] -= 1
        raised.remove(ticket)
        if sentIn == generation { adapt(ending) }
        return admit()
    }

    /// Sets the counters to zero.
    mutating func resetCounters() {
        waits = 0
        halvings = 0
    }

    private mutating func adapt(_ ending: Ending) {
        switch ending {
        case .other: break
        case .overload:
            limit = max(1, limit / 2)
            generation += 1
            halvings += 1
            successes = 0
        case .success:
            guard limit < limits.requestsMax else { return }
            successes += 1
            guard successes >= limit else { return }
            limit += 1
            successes = 0
        }
    }

    private mutating func admit() -> [Ticket] {
        var admitted: [Ticket] = []
        while let priority = [IOPriority.foreground, .background].first(where: { !queue($0).isEmpty && maySend($0) }) {
            guard let ticket = queues[priority]?.popFirst() else { break }
            send(ticket)
            admitted.append(ticket)
        }
        return admitted
    }

    private mutating func send(_ ticket: Ticket) {
        sent[ticket] = generation
        inFlight[priority(of: ticket), default: 0] += 1
    }

    private func maySend(_ priority: IOPriority) -> Bool {
        let reserve = reserve
        let count = inFlight[priority, default: 0]
        let isLaneFree = sent.count < limit
        switch priority {
        case .foreground:
            let isBackgroundOwedALane = reserve > 0 && !queue(.background).isEmpty && inFlight[.background, default: 0] == 0
            return count < reserve || (isLaneFree && (!isBackgroundOwedALane || count < limit - 1))
        case .background:
            // At limit 1 the lane of the foreground must not shut the background out.
            return count < max(1, limit - reserve) && (isLaneFree || (reserve > 0 && limit == 1 && count == 0))
        }
    }

    /// The lanes that the background leaves free: the same share of a lower limit, but at least one.
    private var reserve: Int {
        guard limits.foregroundReserve > 0 else { return 0 }
        let share = (limits.foregroundReserve * limit + limits.requestsMax - 1) / limits.requestsMax
        return max(1, min(share, limit - 1))
    }

    private func priority(of ticket: Ticket) -> IOPriority { raised.contains(ticket) ? .foreground : ticket.priority }

    private func queue(_ priority: IOPriority) -> TicketQueue { queues[priority] ?? TicketQueue() }
}

/// Tickets in the order of their entry.
private struct TicketQueue {
    private var tickets: [LimitStateMachine.Ticket] = []
    /// How many of `tickets` have left at the front; removed in bulk, so that each costs constant time on average.
    private var goneCount = 0

    var count: Int { tickets.count - goneCount }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ ticket: LimitStateMachine.Ticket) { tickets.append(ticket) }

    mutating func popFirst() -> LimitStateMachine.Ticket? {
        guard !isEmpty else { return nil }
        let first = tickets[goneCount]
        goneCount += 1
        if goneCount > tickets.count / 2 {
            tickets.removeFirst(goneCount)
            goneCount = 0
        }
        return first
    }

    mutating func remove(_ ticket: LimitStateMachine.Ticket) -> Bool {
        guard let index = tickets[goneCount...].firstIndex(of: ticket) else { return false }
        tickets.remove(at: index)
        return true
    }
}
