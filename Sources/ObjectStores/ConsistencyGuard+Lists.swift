// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What was forgotten while lists are under way.
///
/// A store may answer a list with the state of an object as long as the object is remembered. A list that was sent before
/// something was forgotten may come back after, so what is forgotten meanwhile is kept until no such list is under way any more.
struct ListsUnderWay: Sendable {
    /// Names a list from its sending to its end.
    struct Ticket: Sendable {
        fileprivate let number: UInt64
        /// How much had been forgotten when it was sent.
        fileprivate let position: Int
    }

    /// How many objects are kept; what is more is lost, and the answers to the lists under way say nothing then.
    static let forgottenMax = 65_536

    private var positions: [UInt64: Int] = [:]
    private var forgotten: [(key: ObjectKey, knowledge: ConsistencyStateMachine.Knowledge)] = []
    /// How many of those that were forgotten beside lists are not in `forgotten` any more.
    private var goneCount = 0
    private var number: UInt64 = 0

    /// How many objects are kept; for tests.
    var keptCount: Int { forgotten.count }

    /// A list is sent.
    mutating func begin() -> Ticket {
        number += 1
        positions[number] = goneCount + forgotten.count
        return Ticket(number: number, position: goneCount + forgotten.count)
    }

    /// A list has ended.
    mutating func end(_ ticket: Ticket) {
        positions[ticket.number] = nil
        let first = positions.values.min() ?? goneCount + forgotten.count
        // In bulk, so that each costs constant time on average.
        guard first - goneCount > forgotten.count / 2 else { return }
        forgotten.removeFirst(first - goneCount)
        goneCount = first
    }

    /// Something is forgotten.
    mutating func note(_ key: ObjectKey, _ knowledge: ConsistencyStateMachine.Knowledge?) {
        guard !positions.isEmpty, let knowledge else { return }
        if forgotten.count >= Self.forgottenMax {
            goneCount += forgotten.count
            forgotten = []
        }
        forgotten.append((key, knowledge))
    }

    /// What was forgotten since the list was sent, the newest of each object.
    ///
    /// - Returns: Nil when it was too much.
    func forgotten(since ticket: Ticket) -> [ObjectKey: ConsistencyStateMachine.Knowledge]? {
        guard ticket.position >= goneCount else { return nil }
        return Dictionary(
            forgotten[(ticket.position - goneCount)...].map { ($0.key, $0.knowledge) }, uniquingKeysWith: { $1 })
    }
}

extension ConsistencyStateMachine {
    /// What a list was asked for.
    struct ListBounds {
        /// What all keys start with.
        let prefix: String
        /// What all keys come after.
        let after: ObjectKey?
        /// How many there are at most.
        let limit: Int
    }

    /// A list is about to be sent; it ends with ``endList(_:)``.
    mutating func beginList(now: Duration) -> ListsUnderWay.Ticket {
        forget(now)
        return lists.begin()
    }

    /// A list has ended, well or not.
    mutating func endList(_ ticket: ListsUnderWay.Ticket) { lists.end(ticket) }

    /// A page of a list with what is known for sure laid over it, so that nobody takes an object for absent because the list is
    /// old. Known is also what has been forgotten since the list was sent.
    ///
    /// Costs time by the page and by what is known of the keys that it covers, not by all that is known.
    ///
    /// - Returns: Nil when so much was forgotten meanwhile that nobody can tell.
    mutating func overlay(
        _ page: ObjectListPage, _ bounds: ListBounds, _ ticket: ListsUnderWay.Ticket, now: Duration
    ) -> ObjectListPage? {
        forget(now)
        return overlaid(page, bounds, ticket)
    }

    private func overlaid(
        _ page: ObjectListPage, _ bounds: ListBounds, _ ticket: ListsUnderWay.Ticket
    ) -> ObjectListPage? {
        guard let forgotten = lists.forgotten(since: ticket) else { return nil }
        guard !entries.isEmpty || !forgotten.isEmpty else { return page }
        var listed: [ObjectListEntry] = []
        var names: Set<ObjectKey> = []
        for line in page.entries {
            names.insert(line.key)
            if let line = Self.corrected(line, possibleVersions(of: line.key, forgotten)) { listed.append(line) }
        }
        let listedCount = listed.count
        func add(_ key: ObjectKey) {
            guard names.insert(key).inserted else { return }
            if let line = Self.line(key, possibleVersions(of: key, forgotten)) { listed.append(line) }
        }
        let start = ObjectKey(bounds.prefix)
        order.forEach(from: bounds.after.map { max($0, start) } ?? start) { key in
            guard bounds.contains(key, page.next) else { return key == bounds.after }
            add(key)
            return true
        }
        for key in forgotten.keys where bounds.contains(key, page.next) { add(key) }
        if listed.count > listedCount { listed.sort { $0.key < $1.key } }
        guard listed.count > bounds.limit else { return ObjectListPage(entries: listed, next: page.next) }
        listed.removeLast(listed.count - bounds.limit)
        return ObjectListPage(entries: listed, next: listed.last?.key)
    }

    /// The versions that an object may have, that of a change under way included; nil: any.
    private func possibleVersions(of key: ObjectKey, _ forgotten: [ObjectKey: Knowledge]) -> [ObjectVersion]? {
        let entry = entries[key]
        guard let versions = (entry?.knowledge ?? forgotten[key])?.versions else { return nil }
        return entry?.attempted.map { versions + [$0] } ?? versions
    }

    /// A line as it must be; nil when the object is known to be absent.
    ///
    /// The tag of an older version is left out: nobody shall take it for that of the newest.
    private static func corrected(_ line: ObjectListEntry, _ versions: [ObjectVersion]?) -> ObjectListEntry? {
        guard let versions else { return line }
        guard versions.contains(where: { !$0.isAbsent }) else { return nil }
        if versions.count == 1, let size = versions[0].size {
            return ObjectListEntry(key: line.key, size: size, eTag: versions[0].tag)
        }
        let isPossible = line.eTag.map { tag in versions.contains { $0.tag == tag } } ?? false
        return ObjectListEntry(key: line.key, size: line.size, eTag: isPossible ? line.eTag : nil)
    }

    /// The line of an object that certainly exists.
    private static func line(_ key: ObjectKey, _ versions: [ObjectVersion]?) -> ObjectListEntry? {
        guard let versions, !versions.contains(.absent), let last = versions.last, let size = last.size else { return nil }
        return ObjectListEntry(key: key, size: size, eTag: versions.count == 1 ? last.tag : nil)
    }
}

extension ConsistencyStateMachine.ListBounds {
    /// Whether `key` belongs to the page that ends with `next`.
    fileprivate func contains(_ key: ObjectKey, _ next: ObjectKey?) -> Bool {
        key.name.utf8.starts(with: prefix.utf8) && (after.map { $0 < key } ?? true) && (next.map { key <= $0 } ?? true)
    }
}
